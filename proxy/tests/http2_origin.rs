//! Origins that speak TLS, HTTP/2 or both, on a runtime of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// One request: its connection's number and its head.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub uri: String,
    pub headers: HeaderMap,
}

pub struct AsyncOrigin {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl AsyncOrigin {
    /// In HTTP/2 where ALPN or, without TLS, `http2` says so; in HTTP/1.1 otherwise.
    pub fn start(tls: Option<Arc<ServerConfig>>, http2: bool) -> AsyncOrigin {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::default();
        let origin = AsyncOrigin { address, seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                for connection in 0.. {
                    let Ok((stream, _)) = listener.accept().await else { break };
                    let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                    tokio::spawn(async move {
                        let Some(tls) = tls else {
                            return serve(stream, http2, connection, seen).await;
                        };
                        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
                            return;
                        };
                        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, http2, connection, seen).await;
                    });
                }
            });
        });
        origin
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve<IO>(stream: IO, http2: bool, connection: usize, seen: Arc<Mutex<Vec<Seen>>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if !http2 {
        return serve_http1(stream, connection, &seen).await;
    }
    let Ok(mut requests) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = requests.accept().await {
        let (head, body) = request.into_parts();
        let one = Seen { connection, uri: head.uri.to_string(), headers: head.headers.clone() };
        let is_new = seen.lock().unwrap().iter().all(|before| before.uri != one.uri);
        seen.lock().unwrap().push(one);
        if is_new && head.uri.path() == "/refused" {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        tokio::spawn(answer(Request::from_parts(head, body), respond));
    }
}

/// `/echo` comes back with trailers, `/torn` breaks off, `/refused` is refused unlooked at the first time, the health service serves `app` only; any other
/// path is "ok" for a minute.
async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let mut asked = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).ok()?;
        asked.extend_from_slice(&data);
    }
    let response = Response::builder().header("cache-control", "max-age=60");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().ok()?);
    match head.uri.path() {
        "/echo" => {
            let response = response.header("content-type", "application/grpc").body(()).ok()?;
            let mut stream = respond.send_response(response, false).ok()?;
            stream.send_data(asked.into(), false).ok()?;
            stream.send_trailers(trailers).ok()
        }
        "/torn" => {
            let mut stream = respond.send_response(response.body(()).ok()?, false).ok()?;
            stream.send_data(Bytes::from_static(b"half"), false).ok()?;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
            None
        }
        "/grpc.health.v1.Health/Check" => {
            let serves = asked == [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'p', b'p'];
            let response = response.header("content-type", "application/grpc").body(()).ok()?;
            let mut stream = respond.send_response(response, false).ok()?;
            let status = [0, 0, 0, 0, 2, 0x08, if serves { 1 } else { 2 }];
            stream.send_data(Bytes::copy_from_slice(&status), false).ok()?;
            stream.send_trailers(trailers).ok()
        }
        _ => {
            let mut stream = respond.send_response(response.body(()).ok()?, false).ok()?;
            stream.send_data(Bytes::from_static(b"ok"), true).ok()
        }
    }
}

async fn serve_http1<IO>(mut stream: IO, connection: usize, seen: &Mutex<Vec<Seen>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let uri = head.split(' ').nth(1).unwrap_or_default().to_owned();
        seen.lock().unwrap().push(Seen { connection, uri, headers: HeaderMap::new() });
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}
