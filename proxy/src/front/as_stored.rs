//! A stored answer whose head is sent as it lies in the store: its lines are made once, and only what differs
//! from request to request is written behind them.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AGE, CONTENT_LENGTH, DATE};
use http::{HeaderName, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;

use crate::cache::answer::{HIT_STATUS, hit_status, left_seconds};
use crate::cache::object::Stored;
use crate::cache::serve::CACHE_STATUS;
use crate::front::head::write_lines;

/// Room for the fields that are written each time.
const FIELDS_BYTES: usize = 192;

/// A head that is the stored one, and what is said besides.
pub struct AsStored {
    stored: Arc<Stored>,
    age_seconds: u64,
    fresh_for_ms: i64,
}

impl AsStored {
    /// `None` where a head differs from the stored one by more than these fields.
    pub fn of(stored: &Arc<Stored>, now_ms: u64, fresh_for_ms: i64) -> Option<AsStored> {
        let is_bodiless = matches!(stored.head.response.status.as_u16(), 204 | 304);
        let age_seconds = stored.times().age_ms(now_ms) / 1000;
        (!is_bodiless).then(|| AsStored { stored: Arc::clone(stored), age_seconds, fresh_for_ms })
    }

    pub fn status(&self) -> StatusCode {
        self.stored.head.response.status
    }

    /// A field as it was sent.
    pub fn text(&self, name: &HeaderName) -> Option<String> {
        match *name {
            AGE => Some(self.age_seconds.to_string()),
            CONTENT_LENGTH => Some(self.stored.length().to_string()),
            CACHE_STATUS => Some(hit_status(self.fresh_for_ms)),
            _ => {
                let value = self.stored.head.response.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
        }
    }

    /// The head as bytes, with the empty line that ends it.
    pub fn head(&self) -> BytesMut {
        let lines = self.stored.lines.get_or_init(|| lines(&self.stored.head.response));
        let mut out = BytesMut::with_capacity(lines.len() + FIELDS_BYTES);
        out.put_slice(lines);
        let mut digits = itoa::Buffer::new();
        out.put_slice(b"Age: ");
        out.put_slice(digits.format(self.age_seconds).as_bytes());
        out.put_slice(b"\r\ncache-status: ");
        out.put_slice(HIT_STATUS.as_bytes());
        out.put_slice(digits.format(left_seconds(self.fresh_for_ms)).as_bytes());
        out.put_slice(b"\r\nContent-Length: ");
        out.put_slice(digits.format(self.stored.length()).as_bytes());
        if !self.stored.head.response.headers.contains_key(DATE) {
            out.put_slice(b"\r\nDate: ");
            out.put_slice(get_cached_date().as_bytes());
        }
        out.put_slice(b"\r\nConnection: keep-alive\r\n\r\n");
        out
    }
}

/// The fields that are the same each time.
fn lines(stored: &ResponseHeader) -> Bytes {
    let mut head = stored.clone();
    head.remove_header(&AGE);
    head.remove_header(&CONTENT_LENGTH);
    let mut lines = BytesMut::new();
    write_lines(&head, &mut lines);
    lines.freeze()
}
