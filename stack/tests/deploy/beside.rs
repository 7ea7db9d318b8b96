//! What is asked beside CloudFormation, over real protocols too: buckets, quotas, public parameters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fake::State;

/// An answer to a question that is not CloudFormation's; none to one that is.
pub fn answer(
    state: &mut State,
    line: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Option<Vec<u8>> {
    let (method, path) = line.split_once(' ')?;
    let path = path.split([' ', '?']).next()?;
    if let Some(target) = headers.get("x-amz-target") {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let action = target.rsplit('.').next()?;
        state.calls.push(format!("{action} {}", asked["QuotaCode"].as_str().unwrap_or("")));
        let (code, told) = of_services(state, action, &asked);
        let kind = "content-type: application/x-amz-json-1.1\r\n";
        return Some(whole(code, kind, told.to_string().as_bytes()));
    }
    match method {
        "PUT" => {
            state.calls.push(format!("PutObject {path}"));
            let sum = headers.get("x-amz-checksum-sha256").cloned().unwrap_or_default();
            state.objects.insert(path.to_owned(), (body.to_vec(), sum));
            Some(whole(200, "etag: \"x\"\r\n", b""))
        }
        "HEAD" => Some(match state.objects.get(path) {
            Some((_, sum)) => whole(200, &format!("x-amz-checksum-sha256: {sum}\r\n"), b""),
            None => whole(404, "", b""),
        }),
        _ => None,
    }
}

fn whole(code: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {code} X\r\n{headers}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn of_services(state: &State, action: &str, asked: &Value) -> (u16, Value) {
    match action {
        "GetServiceQuota" => {
            let value = state.script.quota.unwrap_or(10_000);
            (200, json!({ "Quota": { "QuotaCode": asked["QuotaCode"], "Value": value } }))
        }
        "GetParameter" if state.script.no_images => {
            (400, json!({ "__type": "ParameterNotFound", "message": "no" }))
        }
        "GetParameter" => (
            200,
            json!({ "Parameter": { "Name": asked["Name"], "Value": "ami-0123456789abcdef0" } }),
        ),
        other => (400, json!({ "__type": "InvalidAction", "message": other })),
    }
}

/// An object by the address CloudFormation is given: `https://BUCKET.s3.REGION.amazonaws.com/KEY`.
pub fn read(state: &State, url: &str) -> String {
    let (host, key) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let bucket = host.split('.').next().unwrap();
    let (bytes, _) = &state.objects[&format!("/{bucket}/{key}")];
    String::from_utf8(bytes.clone()).unwrap()
}
