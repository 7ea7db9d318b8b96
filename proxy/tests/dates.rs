//! `Date` says when the origin made an answer, however it comes to the client.

use http::{HeaderMap, HeaderValue, Request};
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

#[test]
fn http2_has_the_same_dates() {
    let origin = Origin::start(|exchange| {
        let dates =
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Fri, 06 Nov 2054 08:49:37 GMT\r\n";
        answer(exchange, dates, "ok")
    });
    let cached = Proxy::start(&cached(&origin, ""));
    let plain = Proxy::start(&to(&[origin.address]));
    run(async {
        for (proxy, verdict) in
            [(&cached, Some("fwd=uri-miss")), (&cached, Some("hit")), (&plain, None)]
        {
            let got = fields(proxy, "/").await;
            let status = got.get("cache-status").map(|status| status.to_str().unwrap());
            assert!(verdict.is_none_or(|verdict| status.unwrap().contains(verdict)), "{status:?}");
            assert_eq!(
                (&got["date"], got.get("cache-control")),
                (&HeaderValue::from_static(DATE), None)
            );
        }
        let undated = hinting("");
        let proxy = Proxy::start(&to(&[undated.address]));
        assert_eq!(fields(&proxy, "/").await["date"].len(), DATE.len());
    });
    let response = asked(&cached, "GET");
    assert_eq!((response.header("date"), response.header("cache-control")), (Some(DATE), None));
}
