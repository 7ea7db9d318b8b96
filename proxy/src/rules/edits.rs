//! Edits of headers, both ways.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use proxy_config::header_edits::Rendered;

use crate::disguise;
use crate::headers::{self, titled};
use crate::rules::ruled::ToClient;

/// What a message cannot do without.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// Edits a request on its way to an upstream.
pub fn edit_request(head: &mut RequestHeader, edits: &Rendered) -> pingora::Result<()> {
    let edited = |name: &str| {
        edits.remove.iter().any(|edited| edited.as_str() == name)
            || edits.set.iter().any(|(edited, _)| edited.as_str() == name)
    };
    for name in disguise::twins(&head.headers, edited) {
        head.remove_header(&name);
    }
    if edits.remove_all {
        let all: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !FRAMING.contains(name)) {
            head.remove_header(name);
        }
    }
    for (name, values) in edits.replaced(0, &head.headers) {
        head.remove_header(&name);
        for value in values {
            head.append_header(name.clone(), value)?;
        }
    }
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (name, value) in &edits.set {
        head.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        head.append_header(name.clone(), value.clone())?;
    }
    for (name, value, how) in edits.appended(0, &head.headers) {
        if how.replace {
            head.insert_header(name, value)?;
        } else {
            head.append_header(name, value)?;
        }
    }
    Ok(())
}

/// The fields of a request as its upstream is asked with them, where they differ from those it came with.
pub fn as_asked(head: &RequestHeader, edits: &Rendered) -> Option<HeaderMap> {
    if edits.is_empty() {
        return None;
    }
    let mut asked = head.clone();
    edit_request(&mut asked, edits).ok()?;
    Some(http::request::Parts::from(asked).headers)
}

/// Edits a response on its way to the client, whoever made it; interim responses stay as they are.
pub fn edit_response(head: &mut ResponseHeader, to_client: &ToClient) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    for (name, value) in &to_client.kept {
        match *name {
            SET_COOKIE => head.append_header(name.clone(), value.clone())?,
            _ => head.insert_header(titled(name), value.clone()).map(|()| true)?,
        };
    }
    if let Some(status) = to_client.status {
        if head.status == StatusCode::NO_CONTENT && status != StatusCode::NO_CONTENT {
            head.insert_header(CONTENT_LENGTH, "0")?;
        }
        head.set_status(status)?;
        head.set_reason_phrase(None)?;
    }
    let edits = &to_client.edits;
    let status = head.status.as_u16();
    if edits.remove_all {
        let all: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !FRAMING.contains(name)) {
            head.remove_header(name);
        }
    }
    // What is said of the answer is said of it as it came.
    let appended = edits.appended(status, &head.headers);
    for (name, values) in edits.replaced(status, &head.headers) {
        match values.as_slice() {
            // One value takes its place where the other stood.
            [value] => head.insert_header(titled(&name), value.clone())?,
            values => {
                head.remove_header(&name);
                for value in values {
                    head.append_header(titled(&name), value.clone())?;
                }
            }
        }
    }
    headers::take_off(head, &edits.remove)?;
    for (name, value) in &edits.set {
        head.insert_header(titled(name), value.clone())?;
    }
    for (name, value) in &edits.add {
        head.append_header(titled(name), value.clone())?;
    }
    for (name, value, how) in appended {
        if how.replace {
            head.insert_header(name, value)?;
        } else {
            head.append_header(name, value)?;
        }
    }
    Ok(())
}
