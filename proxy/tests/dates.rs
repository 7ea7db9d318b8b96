//! `Date` says when the origin made an answer, however it comes to the client.

use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use crate::caching::{answer, cached};
use crate::client::Response;
use crate::harness::{Proxy, to};
use crate::http2::{http2, run};
use crate::origin::Origin;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Says one thing before its answer, in one piece with it.
fn hinting(fields: &'static str) -> Origin {
    Origin::start(move |exchange| {
        exchange.body();
        exchange.write(format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
             HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"
        ))
    })
}

fn asked(proxy: &Proxy, method: &str) -> Response {
    let fields = "Host: a.example\r\nContent-Length: 0\r\n";
    proxy.client().ask(&format!("{method} / HTTP/1.1\r\n{fields}\r\n"))
}

#[test]
fn what_passes_through_keeps_its_date() {
    let origin = hinting("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    for proxy in [Proxy::start(&to(&[origin.address])), Proxy::start(&cached(&origin, ""))] {
        for method in ["GET", "POST"] {
            let response = asked(&proxy, method);
            assert_eq!((response.status, response.header("date")), (200, Some(DATE)), "{method}");
        }
        // What the proxy says by itself is of now.
        let refused = proxy.client().ask("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
        assert!(refused.header("date").is_some_and(|date| date != DATE), "{refused:?}");
    }
    let undated = hinting("");
    let proxy = Proxy::start(&to(&[undated.address]));
    assert!(asked(&proxy, "GET").header("date").is_some(), "a proxy adds what is missing");
}

async fn fields(proxy: &Proxy, path: &str) -> HeaderMap {
    let mut sender = http2(TcpStream::connect(proxy.public).await.unwrap()).await;
    let request = Request::get(format!("http://a.example{path}")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    response.await.unwrap().into_parts().0.headers
}

/// Towards HTTP/2 pingora writes a date of its own, and `Expires` would mean another lifetime.
#[test]
fn on_http2_the_lifetime_is_told_that_another_date_would_change() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target() {
            "/told" => "Cache-Control: max-age=9000000000\r\n",
            _ => "",
        };
        let dates =
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Fri, 06 Nov 2054 08:49:37 GMT\r\n";
        answer(exchange, &format!("{fields}{dates}"), "ok")
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    run(async {
        for verdict in ["fwd=uri-miss", "hit"] {
            let got = fields(&proxy, "/").await;
            let status = got["cache-status"].to_str().unwrap();
            assert!(status.contains(verdict), "{status}");
            // 60 years, of which about half are over.
            assert_eq!(got["cache-control"], "max-age=1893456000");
            assert!(got["age"].to_str().unwrap().parse::<u64>().unwrap() > 900_000_000);
        }
        assert_eq!(fields(&proxy, "/told").await["cache-control"], "max-age=9000000000");
    });
    let response = asked(&proxy, "GET");
    assert_eq!((response.header("date"), response.header("cache-control")), (Some(DATE), None));
}
