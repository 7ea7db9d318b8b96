//! One request by HTTP/2 on a connection of its own, without TLS and by prior knowledge (RFC 9113 section 3.3), and its
//! answer.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Uri;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::replay::log_lines::NUMBER;
use crate::replay::requests::Request;
use crate::replay::wire::{ANSWER_BYTES_MAX, Answer, PATIENCE};

/// Whether HTTP/2 can ask this: a target that is a path of characters that URIs have.
pub fn can_say(request: &Request) -> bool {
    let uri = uri(request).parse::<Uri>();
    uri.is_ok_and(|uri| uri.path_and_query().is_some_and(|same| same.as_str() == request.target))
}

fn uri(request: &Request) -> String {
    format!("http://{}{}", request.host, request.target)
}

/// Asks by this number. The error is what a client would have seen.
pub fn ask(address: SocketAddr, request: &Request, number: usize) -> Result<Answer, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let asked = timeout(PATIENCE, exchange(address, request, number)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    })
}

async fn exchange(address: SocketAddr, request: &Request, number: usize) -> Result<Answer, String> {
    let none = |error: h2::Error| format!("no answer that is HTTP/2: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    let (client, connection) = h2::client::handshake(stream).await.map_err(none)?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let mut client = client.ready().await.map_err(none)?;
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(uri(request))
        .header("user-agent", "replay")
        .header(NUMBER, number);
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let has_body = !request.body.is_empty() || request.method == "POST";
    if has_body {
        head = head.header("content-length", request.body.len());
    }
    let head = head.body(()).map_err(|error| format!("not to be asked by HTTP/2: {error}"))?;
    let (answer, mut body) = client.send_request(head, !has_body).map_err(none)?;
    if has_body {
        // An answer may come before the body has been taken.
        let _ = body.send_data(Bytes::from(request.body.clone()), true);
    }
    let answer = answer.await.map_err(none)?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    let status = answer.status().as_u16();
    let (mut stream, mut body) = (answer.into_body(), Vec::new());
    while let Some(part) = stream.data().await {
        let part = part.map_err(none)?;
        let _ = stream.flow_control().release_capacity(part.len());
        body.extend_from_slice(&part);
        if body.len() as u64 > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(Answer { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_uri_can_say_is_not_asked() {
        for (target, expected) in [
            ("/a?b=%2F", true),
            ("/a/../b", true),
            ("/a%7E", true),
            ("/a b", false),
            ("/a#b", false),
            ("*", false),
        ] {
            let request = Request::get(([127, 0, 0, 1], 80).into(), "a.example", target);
            assert_eq!(can_say(&request), expected, "{target}");
        }
    }
}
