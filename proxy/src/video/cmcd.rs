//! Common Media Client Data (CTA-5004, versions 1 and 2): what players tell with their requests, in
//! the query parameter `CMCD` or in four headers. Values are structured fields (RFC 8941).

use std::borrow::Cow;

use http::HeaderMap;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use thiserror::Error;

/// The headers, in the order of the standard.
const HEADERS: [&str; 4] = ["cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"];
/// Longest text of one request that is read, decoded.
pub const BYTES_MAX: usize = 4096;
/// Longest content and session id (CTA-5004 says 64).
const ID_MAX: usize = 64;

/// What a player told with one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `cid`: what is watched.
    pub content: Option<String>,
    /// `sid`: who watches.
    pub session: Option<String>,
    /// `br`: encoded bitrate of the object.
    pub bitrate_kbps: Option<u64>,
    /// `bl`: media in the player's buffer.
    pub buffer_ms: Option<u64>,
    /// `mtp`: throughput as the player measured it.
    pub throughput_kbps: Option<u64>,
    /// `bs`: the buffer ran empty since the last request.
    pub starved: bool,
    /// `su`: it starts, seeks or recovers.
    pub starting: bool,
    /// `msd` (version 2): time from the wish to play to the first frame.
    pub start_delay_ms: Option<u64>,
    /// `nor`: what will be asked for next, relative to this request.
    pub next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CmcdFault {
    #[error("it is longer than {BYTES_MAX} bytes")]
    TooLong,
    #[error("it is no dictionary of structured fields")]
    Malformed,
}

/// What a request tells; `None` when it tells nothing.
pub fn read(query: Option<&str>, headers: &HeaderMap) -> Option<Result<Report, CmcdFault>> {
    let parameter = query.and_then(|query| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == "CMCD").map(|(_, value)| decoded(value))
    });
    let text = match parameter {
        Some(text) => text,
        None => {
            let values = HEADERS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
            Cow::Owned(values.collect::<Vec<_>>().join(","))
        }
    };
    (!text.is_empty()).then(|| of_text(&text))
}

fn decoded(value: &str) -> Cow<'_, str> {
    // Only `%XX` counts: a plus sign is itself in a structured field.
    percent_encoding::percent_decode_str(value).decode_utf8_lossy()
}

fn of_text(text: &str) -> Result<Report, CmcdFault> {
    if text.len() > BYTES_MAX {
        return Err(CmcdFault::TooLong);
    }
    let fields = Parser::parse_dictionary(text.as_bytes()).map_err(|_| CmcdFault::Malformed)?;
    let integer = |name: &str| match first(&fields, name) {
        Some(BareItem::Integer(value)) => u64::try_from(*value).ok(),
        Some(BareItem::Decimal(value)) => value.trunc().to_string().parse().ok(),
        _ => None,
    };
    let flag = |name: &str| matches!(first(&fields, name), Some(BareItem::Boolean(true)));
    let string = |name: &str| match first(&fields, name) {
        Some(BareItem::String(value)) => Some(value.clone()),
        _ => None,
    };
    let id = |name: &str| string(name).filter(|id| !id.is_empty() && id.len() <= ID_MAX);
    Ok(Report {
        content: id("cid"),
        session: id("sid"),
        bitrate_kbps: integer("br"),
        buffer_ms: integer("bl"),
        throughput_kbps: integer("mtp"),
        starved: flag("bs"),
        starting: flag("su"),
        start_delay_ms: integer("msd"),
        next: string("nor").map(|next| decoded(&next).into_owned()),
    })
}

/// A value, or the first of a list: version 2 writes `bl=(2300)`.
fn first<'a>(fields: &'a Dictionary, name: &str) -> Option<&'a BareItem> {
    match fields.get(name)? {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(list) => list.items.first().map(|item| &item.bare_item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of_query(query: &str) -> Option<Result<Report, CmcdFault>> {
        read(Some(query), &HeaderMap::new())
    }

    #[test]
    fn version_one_in_the_query() {
        let query = "a=1&CMCD=bl%3D21300%2Cbr%3D3200%2Cbs%2Ccid%3D%22film-7%22%2Cmtp%3D25400%2C\
                     nor%3D%22..%252F300kbps%252Fsegment35.m4v%22%2Csid%3D%226e2fb550%22%2Csu";
        let report = of_query(query).unwrap().unwrap();
        let expected = Report {
            content: Some("film-7".to_owned()),
            session: Some("6e2fb550".to_owned()),
            bitrate_kbps: Some(3200),
            buffer_ms: Some(21_300),
            throughput_kbps: Some(25_400),
            starved: true,
            starting: true,
            start_delay_ms: None,
            next: Some("../300kbps/segment35.m4v".to_owned()),
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn version_two_has_lists() {
        let query = "CMCD=bl%3D(2300)%2Cbr%3D(450)%2Cmsd%3D313%2Cnor%3D(%22s5.m4s%22)%2Cv%3D2";
        let report = of_query(query).unwrap().unwrap();
        assert_eq!((report.buffer_ms, report.bitrate_kbps), (Some(2300), Some(450)));
        assert_eq!((report.start_delay_ms, report.next.as_deref()), (Some(313), Some("s5.m4s")));
    }

    #[test]
    fn headers_are_one_dictionary() {
        let mut headers = HeaderMap::new();
        headers.insert("cmcd-object", HeaderValue::from_static("br=800,ot=v"));
        headers.insert("cmcd-session", HeaderValue::from_static("cid=\"x\",sid=\"y\""));
        headers.insert("cmcd-status", HeaderValue::from_static("bs"));
        let report = read(None, &headers).unwrap().unwrap();
        assert_eq!((report.bitrate_kbps, report.starved), (Some(800), true));
        assert_eq!(report.content.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_wrong_is_said_and_what_is_not_there_is_none() {
        assert_eq!(of_query("a=1"), None);
        assert_eq!(of_query("CMCD="), None);
        assert_eq!(of_query("CMCD=%22"), Some(Err(CmcdFault::Malformed)));
        let long = format!("CMCD=a%3D%22{}%22", "x".repeat(BYTES_MAX));
        assert_eq!(of_query(&long), Some(Err(CmcdFault::TooLong)));
        let wrong_types = of_query("CMCD=br%3D%22x%22%2Cbl%3D-4%2Ccid%3D7").unwrap().unwrap();
        assert_eq!(wrong_types, Report::default());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(text in ".{0,120}") {
            let _ = of_query(&format!("CMCD={text}"));
        }
    }
}
