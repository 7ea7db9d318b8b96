//! Cross-origin requests (the Fetch standard, "HTTP extensions"): what a browser is told about who may
//! read an answer, on whatever answer; preflights are answered here.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proxy_config::route_access::Cors;
use proxy_config::route_rules::RenderedReply;

use crate::rules::ruled::Ruled;

/// Makes the route's answer say what the rules allow, in place of what an upstream says. `true`: it
/// is a preflight, which proves nothing and is answered all the same.
pub fn apply(cors: &Cors, method: &Method, headers: &HeaderMap, ruled: &mut Ruled) -> bool {
    let edits = &mut ruled.to_client.edits;
    edits.remove.extend([
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ]);
    let to_all = cors.origins.iter().any(|origin| origin == "*");
    if !to_all {
        edits.add.push((VARY, HeaderValue::from_static("Origin")));
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let is_named = cors.origins.iter().any(|named| named.as_bytes() == origin.as_bytes());
    let allowed = to_all || is_named;
    if allowed {
        let origin = if to_all { HeaderValue::from_static("*") } else { origin.clone() };
        edits.set.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin));
        if cors.credentials {
            edits.set.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
    }
    let is_preflight =
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        let headers = if allowed { preflight(cors) } else { Vec::new() };
        ruled.reply =
            Some(RenderedReply { status: 204, headers, body: String::new(), leads: false });
        ruled.is_preflight = true;
    } else if allowed {
        let exposed = list(ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
        ruled.to_client.edits.set.extend(exposed);
    }
    is_preflight
}

fn preflight(cors: &Cors) -> Vec<(HeaderName, HeaderValue)> {
    let methods = list(ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
    let headers = list(ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
    let seconds = HeaderValue::from(cors.max_age.as_millis() / 1000);
    methods.into_iter().chain(headers).chain([(ACCESS_CONTROL_MAX_AGE, seconds)]).collect()
}

/// The field of a list; none for an empty one.
fn list(name: HeaderName, values: &[String]) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(&values.join(", ")).ok()?;
    (!values.is_empty()).then_some((name, value))
}
