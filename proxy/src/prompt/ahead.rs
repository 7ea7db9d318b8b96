//! What a client sends behind a request that pingora serves. Pingora reads some of it, and hands it to nobody but the
//! next session it makes by itself; so it is kept here, for whoever looks at the next request first.

use bytes::BytesMut;
use pingora::protocols::Stream;

use crate::prompt::within;

/// More than pingora reads behind a request before it stops: what one read of a body takes.
const BYTES_MAX: usize = 128 * 1024;

/// From now on what comes behind the request being served is kept; `behind` is what has come already, where that request is
/// here whole.
pub fn keep(stream: &Stream, behind: Option<BytesMut>) {
    if let Some(prompt) = within(stream) {
        prompt.ahead.lock().begin(behind);
    }
}

/// What came behind the request that was served; none where it was too much.
pub fn take(stream: &Stream) -> Option<BytesMut> {
    within(stream)?.ahead.lock().end()
}

#[derive(Debug, Default)]
pub enum Ahead {
    /// Nobody asks for it.
    #[default]
    Dropped,
    /// The request being served has not come whole.
    Awaited,
    Kept(BytesMut),
    TooMuch,
}

impl Ahead {
    pub fn begin(&mut self, behind: Option<BytesMut>) {
        *self = behind.map_or(Ahead::Awaited, Ahead::Kept);
    }

    /// Looks at bytes that were read; `from` is where a request begins, or ended, in them.
    pub fn see(&mut self, bytes: &[u8], from: Option<usize>) {
        if matches!(self, Ahead::Awaited)
            && let Some(from) = from
        {
            *self = Ahead::Kept(BytesMut::from(&bytes[from.min(bytes.len())..]));
        } else if let Ahead::Kept(kept) = self {
            kept.extend_from_slice(bytes);
        }
        if matches!(self, Ahead::Kept(kept) if kept.len() > BYTES_MAX) {
            *self = Ahead::TooMuch;
        }
    }

    /// What was kept; none where it was too much to go on.
    pub fn end(&mut self) -> Option<BytesMut> {
        match std::mem::take(self) {
            Ahead::Kept(kept) => Some(kept),
            Ahead::Dropped | Ahead::Awaited => Some(BytesMut::new()),
            Ahead::TooMuch => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_the_request_is_kept() {
        let mut ahead = Ahead::default();
        ahead.see(b"GET /1", Some(0));
        assert_eq!(ahead.end().unwrap(), "", "nobody asked");
        ahead.begin(None);
        ahead.see(b"hel", None);
        ahead.see(b"loGET", Some(2));
        ahead.see(b" /2", None);
        assert_eq!(ahead.end().unwrap(), "GET /2");
        ahead.begin(Some(BytesMut::from("G")));
        ahead.see(b"ET", None);
        assert_eq!(ahead.end().unwrap(), "GET");
        ahead.begin(Some(BytesMut::new()));
        ahead.see(&vec![0; BYTES_MAX + 1], Some(0));
        assert_eq!(ahead.end(), None);
        assert_eq!(ahead.end().unwrap(), "", "it is over");
    }
}
