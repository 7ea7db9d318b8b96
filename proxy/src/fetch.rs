//! One question that the proxy asks by itself, beside requests: a name is looked up, its addresses are tried in order, and
//! an answer of limited length is read.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use crate::upstream::connector::Connector;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What is asked, and of whom.
pub struct Ask {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub head: RequestHeader,
    pub body: Bytes,
    /// How long all of it may take.
    pub patience: Duration,
    /// Largest answer that is read.
    pub answer_max: usize,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// It was not larger than may be read.
    pub is_whole: bool,
}

impl Ask {
    /// Asks once.
    ///
    /// Errors: why there is no answer.
    pub async fn once(self, connector: &Connector) -> Result<Answer, String> {
        let asked = tokio::time::timeout(self.patience, async {
            let at = (self.host.as_str(), self.port);
            let found = tokio::net::lookup_host(at).await.map_err(|error| error.to_string())?;
            let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
            self.at(&found, connector).await
        });
        asked.await.unwrap_or_else(|_| Err("it took too long".to_owned()))
    }

    async fn at(&self, addresses: &[SocketAddr], connector: &Connector) -> Result<Answer, String> {
        let mut session = self.connect(addresses, connector).await?;
        let answer = self.converse(&mut session).await;
        session.shutdown().await;
        answer.map_err(|error| error.to_string())
    }

    /// The first address that lets itself be connected to; `localhost` may be two, and a server listen at one.
    async fn connect(
        &self,
        addresses: &[SocketAddr],
        connector: &Connector,
    ) -> Result<HttpSession, String> {
        let mut why = "its name has no address".to_owned();
        let share = self.patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        for address in addresses {
            // A name is always there, so a certificate is always verified.
            let mut peer = HttpPeer::new(*address, self.tls, self.host.clone());
            peer.options.connection_timeout = Some(share);
            peer.options.total_connection_timeout = Some(share);
            peer.options.read_timeout = Some(self.patience);
            peer.options.write_timeout = Some(self.patience);
            match connector.get_http_session(&peer).await {
                Ok(session) => return Ok(session),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    async fn converse(&self, session: &mut HttpSession) -> pingora::Result<Answer> {
        session.write_request_header(Box::new(self.head.clone())).await?;
        if !self.body.is_empty() {
            session.write_request_body(self.body.clone(), true).await?;
        }
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let (status, headers) = session
            .response_header()
            .map_or((0, HeaderMap::new()), |head| (head.status.as_u16(), head.headers.clone()));
        let (mut body, mut is_whole) = (Vec::new(), true);
        while let Some(part) = session.read_response_body().await? {
            body.extend_from_slice(&part);
            is_whole = body.len() <= self.answer_max;
            if !is_whole {
                break;
            }
        }
        Ok(Answer { status, headers, body, is_whole })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn addresses_are_tried_in_order_and_answers_read_as_far_as_they_may_be() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = server.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
                stream.write_all(answer).await.unwrap();
            }
        });
        // Bound and not listening: it refuses.
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead = refusing.local_addr().unwrap();
        let connector = Connector::new(IntGauge::new("idle", "idle").unwrap());
        let ask = |answer_max| Ask {
            host: "localhost".to_owned(),
            port: there.port(),
            tls: false,
            head: RequestHeader::build("GET", b"/", None).unwrap(),
            body: Bytes::new(),
            patience: Duration::from_secs(30),
            answer_max,
        };
        for addresses in [&[dead, there][..], &[dead, dead, there], &[there, dead]] {
            let answer = ask(10).at(addresses, &connector).await.unwrap();
            assert_eq!((answer.status, answer.is_whole), (200, true));
            assert_eq!(answer.body, b"0123456789");
        }
        assert!(!ask(9).at(&[there], &connector).await.unwrap().is_whole);
        assert!(ask(10).at(&[dead], &connector).await.is_err());
        assert!(ask(10).at(&[], &connector).await.err().unwrap().contains("no address"));
    }
}
