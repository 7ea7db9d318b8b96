//! A question as it is put to a server: a head, and the same as bytes of HTTP/1.1.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Version};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::http_req_header_to_wire;

use crate::failure::unsendable;
use crate::fill::origin::Question;
use crate::headers::{self, Downstream};
use crate::rules::edits::edit_request;

/// Room for a head of ordinary length.
const HEAD_BYTES: usize = 1024;

/// The head, with these fields added.
pub fn request_head(
    question: &Question,
    fields: &[(HeaderName, HeaderValue)],
    server: &str,
) -> Result<RequestHeader> {
    let mut head = RequestHeader::clone(&question.head);
    head.set_version(Version::HTTP_11);
    headers::to_upstream(&mut head, &downstream(question), server)?;
    edit_request(&mut head, &question.edits)?;
    if let Some(body) = &question.body {
        head.insert_header(CONTENT_LENGTH, body.len())?;
    }
    match question.feed.as_ref().map(|feed| feed.length) {
        Some(Some(length)) => head.insert_header(CONTENT_LENGTH, length)?,
        Some(None) => head.insert_header(TRANSFER_ENCODING, "chunked")?,
        None => {}
    }
    for (name, value) in fields {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// The head and the body that is there; `last` tells the server that nothing follows.
pub fn bytes(
    question: &Question,
    fields: &[(HeaderName, HeaderValue)],
    server: &str,
    last: bool,
) -> Result<BytesMut> {
    let is_framed = question.feed.is_some() || question.head.headers.contains_key(CONTENT_LENGTH);
    let is_plain = fields.is_empty() && question.edits.is_empty() && !is_framed;
    let mut out = match is_plain {
        true => {
            let mut out = BytesMut::with_capacity(HEAD_BYTES);
            begin(&question.head, &mut out);
            headers::write_to_upstream(&question.head, &downstream(question), server, &mut out);
            if let Some(body) = &question.body {
                out.put_slice(b"Content-Length: ");
                out.put_slice(itoa::Buffer::new().format(body.len()).as_bytes());
                out.put_slice(b"\r\n");
            }
            if last {
                out.put_slice(b"Connection: close\r\n");
            }
            out.put_slice(b"\r\n");
            out
        }
        false => {
            let mut head = request_head(question, fields, server)?;
            if last {
                head.insert_header(CONNECTION, "close")?;
            }
            http_req_header_to_wire(&head).ok_or_else(unsendable)?
        }
    };
    if let Some(body) = &question.body {
        out.put_slice(body);
    }
    Ok(out)
}

fn begin(head: &RequestHeader, out: &mut BytesMut) {
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    // No head has a target that would end its line.
    out.put_slice(head.raw_path());
    out.put_slice(b" HTTP/1.1\r\n");
}

fn downstream(question: &Question) -> Downstream<'_> {
    Downstream {
        client: question.client,
        tls: question.tls,
        request_id: &question.request_id,
        forwarded: question.forwarded,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;
    use proxy_config::header_edits::Rendered;
    use proxy_config::route::ForwardedHeaders;

    use super::*;

    fn question(fields: &[(&str, String)], forwarded: ForwardedHeaders, body: bool) -> Question {
        let mut head = RequestHeader::build_no_case("POST", b"/a?b", None).unwrap();
        for (name, value) in fields {
            head.append_header((*name).to_owned(), value).unwrap();
        }
        Question {
            head: Arc::new(head),
            body: body.then(|| Bytes::from_static(b"body")),
            feed: None,
            caller: None,
            client: Some([192, 0, 2, 7].into()),
            tls: true,
            request_id: "id".to_owned(),
            forwarded,
            edits: Rendered::default(),
            recorder: None,
            claims: None,
            as_lines: false,
        }
    }

    fn sorted(bytes: &[u8]) -> (String, Vec<String>, String) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
        let first = lines.remove(0);
        lines.sort();
        (first, lines, body.to_owned())
    }

    proptest! {
        #[test]
        fn bytes_written_at_once_say_what_the_head_says(
            fields in prop::collection::vec((prop::sample::select(vec![
                "host", "connection", "x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host",
                "x_forwarded_for", "x-request-id", "accept", "cookie", "keep-alive", "te", "upgrade", "x-a", "x_b",
            ]), "[a-z]{1,6}(, x-a)?"), 0..12),
            pass_on in any::<bool>(),
            body in any::<bool>(),
            last in any::<bool>(),
        ) {
            let forwarded = if pass_on { ForwardedHeaders::PassOn } else { ForwardedHeaders::Add };
            let question = question(&fields, forwarded, body);
            let mut head = request_head(&question, &[], "server:80").unwrap();
            if last {
                head.insert_header(CONNECTION, "close").unwrap();
            }
            let mut built = http_req_header_to_wire(&head).unwrap();
            built.extend_from_slice(question.body.as_deref().unwrap_or_default());
            let written = bytes(&question, &[], "server:80", last).unwrap();
            prop_assert_eq!(sorted(&written), sorted(&built));
        }
    }

    #[test]
    fn no_head_has_a_target_that_would_end_its_line() {
        let mut head = RequestHeader::build_no_case("GET", b"/", None).unwrap();
        for end in [" ", "\r", "\n", "\0"] {
            for before in [&b"/a"[..], b"/\xff"] {
                let target = [before, end.as_bytes(), b"b"].concat();
                assert!(RequestHeader::build_no_case("GET", &target, None).is_err(), "{target:?}");
                assert!(head.set_raw_path(&target).is_err(), "{target:?}");
            }
        }
    }
}
