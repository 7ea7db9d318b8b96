//! How the servers of an upstream are reached: over TCP or a Unix socket, with TLS or without, in
//! HTTP/1.1 or HTTP/2, announced by the PROXY protocol or not.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use http::header::HOST;
use http::uri::PathAndQuery;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::tls::SslDigest;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use proxy_config::address::ServerAddress;
use proxy_config::listener::TlsVersion;
use proxy_config::upstream::{ClientIdentity, ProxyProtocolOut, UpstreamProtocol, UpstreamTls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::proxy_protocol::{Ends, Header, write_v1, write_v2};
use crate::tls::keys::private_key;
use crate::upstream::aim::Aim;
use crate::upstream::announce::Announce;
use crate::upstream::bounds::RECEIVE_BYTES;
use crate::upstream::unverified::{self, Unverified};

/// Streams at once on one HTTP/2 connection; a server may allow fewer.
const STREAMS_MAX: u16 = 64;
/// Bytes a server may send ahead on one stream, before the client has taken what came earlier.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Certificates or a key that cannot be used.
#[derive(Debug, Error)]
#[error("{}: {why}", file.display())]
pub struct FileFault {
    pub file: PathBuf,
    pub why: String,
}

/// What is shown to servers and held against what they show.
struct Tls {
    server_name: Option<String>,
    verify: bool,
    minimum_version: TlsVersion,
    authorities: Option<Arc<[WrappedX509]>>,
    identity: Option<Arc<CertKey>>,
}

/// What the connections of an upstream have in common.
pub struct Transport {
    tls: Option<Tls>,
    /// TLS of this proxy's own in place of pingora's.
    unverified: Option<Arc<ClientConfig>>,
    http2: bool,
    timeouts: proxy_config::upstream::UpstreamTimeouts,
    proxy_protocol: Option<ProxyProtocolOut>,
    /// Differs wherever anything above does, so that no connection is used that was made otherwise.
    group: u64,
}

impl Transport {
    /// Reads the files of `tls`.
    pub fn new(upstream: &str, config: &proxy_config::Upstream) -> Result<Transport, FileFault> {
        let mut group = DefaultHasher::new();
        upstream.hash(&mut group);
        let http2 = config.protocol == Some(UpstreamProtocol::Http2);
        (http2, format!("{:?}", config.proxy_protocol)).hash(&mut group);
        let tls = config.tls.as_ref().map(|tls| Tls::new(tls, &mut group)).transpose()?;
        // Pingora has to know of the connection what it is asked for by number, agreed on or announced in.
        let is_counted = config.connections.as_ref().is_some_and(|c| c.requests_max.is_some());
        let is_plain = !http2 && config.proxy_protocol.is_none() && !is_counted;
        let unverified = config.tls.as_ref().filter(|tls| !tls.verify && is_plain);
        let unverified = unverified.map(own_tls).transpose()?;
        Ok(Transport {
            tls,
            unverified,
            http2,
            timeouts: config.timeouts.clone(),
            proxy_protocol: config.proxy_protocol,
            group: group.finish(),
        })
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// HTTP/1, without a word about the client before it.
    pub fn is_plain(&self) -> bool {
        !self.http2 && self.proxy_protocol.is_none()
    }

    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Where to connect for this server. Looks its name up unless it is said where it is; blocks.
    pub fn peer(&self, server: &ServerAddress, at: Option<SocketAddr>) -> Result<HttpPeer, String> {
        let name = match server {
            ServerAddress::Socket(address) => address.ip().to_string(),
            ServerAddress::Name { host, .. } => host.clone(),
            ServerAddress::Unix(_) => String::new(),
        };
        // Without a name pingora would not verify anything.
        let name = match &self.tls {
            Some(tls) => tls.server_name.clone().unwrap_or(name),
            None => String::new(),
        };
        let own = self.unverified.as_ref();
        let own = own.map(|config| Unverified::new(config, &name).ok_or("its name is none"));
        let own = own.transpose()?;
        let is_tls = self.is_tls() && own.is_none();
        let mut peer = match server {
            ServerAddress::Unix(path) => {
                let path = path.to_str().ok_or("its path is not UTF-8")?;
                HttpPeer::new_uds(path, is_tls, name).map_err(|error| error.to_string())?
            }
            other => {
                let address = match at {
                    Some(at) => at,
                    None => address(other)?,
                };
                HttpPeer::new(address, is_tls, name)
            }
        };
        peer.group_key = self.group;
        self.set_options(&mut peer);
        if let Some(own) = own {
            peer.options.custom_l4 = Some(Arc::new(own));
        }
        Ok(peer)
    }

    fn set_options(&self, peer: &mut HttpPeer) {
        let (options, timeouts) = (&mut peer.options, &self.timeouts);
        // Requests have times of their own; these are those of probes.
        options.connection_timeout = Some(timeouts.connect.as_std());
        options.total_connection_timeout = Some(timeouts.connect.as_std());
        options.read_timeout = Some(timeouts.read.as_std());
        options.write_timeout = Some(timeouts.write.as_std());
        options.idle_timeout = Some(timeouts.idle.as_std());
        options.tcp_recv_buf = Some(RECEIVE_BYTES);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        if let Some(tls) = &self.tls {
            options.verify_cert = tls.verify;
            options.verify_hostname = tls.verify;
            options.ca = tls.authorities.clone();
            peer.client_cert_key = tls.identity.clone();
        }
        if self.http2 {
            options.alpn = if self.is_tls() { ALPN::H2H1 } else { ALPN::H2 };
            options.max_h2_streams = usize::from(STREAMS_MAX);
            // Room for every stream, so that one whose client is slow holds up no other.
            options.h2_stream_window_size = Some(STREAM_WINDOW_BYTES);
            options.h2_connection_window_size = Some(STREAM_WINDOW_BYTES * u32::from(STREAMS_MAX));
        }
    }

    /// A connection that begins with who it is made for, where the upstream asks for that.
    pub fn announced(&self, aim: Aim, client: Option<Ends>) -> Aim {
        match self.proxy_protocol {
            Some(version) => aim.but(|peer| announce(peer, version, client)),
            None => aim,
        }
    }

    /// Whether this connection is one the upstream allows: pingora takes every version of TLS that
    /// it knows.
    pub fn accepts(&self, made: Option<&SslDigest>) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|_| self.unverified.is_none()) else {
            return true;
        };
        let version = made.map(|made| &*made.version);
        match tls.minimum_version {
            TlsVersion::V1_2 => version.is_some(),
            TlsVersion::V1_3 => version.is_some_and(|version| version.ends_with("1_3")),
        }
    }

    /// Moves Host to where HTTP/2 has it.
    pub fn fit_http2(&self, head: &mut RequestHeader) {
        let host = head.remove_header(&HOST);
        let authority = host.and_then(|host| host.to_str().map(str::to_owned).ok());
        let target = head.uri.path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(if self.is_tls() { "https" } else { "http" })
            .authority(authority.unwrap_or_default())
            .path_and_query(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build();
        if let Ok(uri) = uri {
            head.set_uri(uri);
        }
    }
}

impl Tls {
    fn new(config: &UpstreamTls, group: &mut DefaultHasher) -> Result<Tls, FileFault> {
        (&config.server_name, config.verify, format!("{:?}", config.minimum_version)).hash(group);
        let authorities = config.authorities.as_ref().map(|file| {
            let certificates = authorities(file)?;
            certificates.hash(group);
            Ok::<_, FileFault>(Arc::from(wrapped(certificates)))
        });
        let identity = config.client_certificate.as_ref().map(|files| {
            let (chain, key) = identity(files)?;
            (&chain, &key).hash(group);
            Ok::<_, FileFault>(Arc::new(CertKey::new(chain, key)))
        });
        Ok(Tls {
            server_name: config.server_name.clone(),
            verify: config.verify,
            minimum_version: config.minimum_version,
            authorities: authorities.transpose()?,
            identity: identity.transpose()?,
        })
    }
}

fn announce(peer: &mut HttpPeer, version: ProxyProtocolOut, client: Option<Ends>) {
    let header = client.map_or(Header::Local, Header::For);
    let bytes = match version {
        ProxyProtocolOut::V1 => write_v1(header),
        ProxyProtocolOut::V2 => write_v2(header),
    };
    // What a connection was announced as, it stays.
    let mut group = DefaultHasher::new();
    (peer.group_key, &bytes).hash(&mut group);
    peer.group_key = group.finish();
    let tweak = peer.options.upstream_tcp_sock_tweak_hook.clone();
    peer.options.custom_l4 = Some(Arc::new(Announce::new(bytes, tweak)));
}

fn wrapped(certificates: Vec<Vec<u8>>) -> Vec<WrappedX509> {
    certificates.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect()
}

/// The certificates of a PEM file, each of them one that pingora can read: it panics otherwise.
fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, FileFault> {
    let fault = |why: String| FileFault { file: file.to_owned(), why };
    let read = CertificateDer::pem_file_iter(file).map_err(|error| fault(error.to_string()))?;
    let certificates =
        read.collect::<Result<Vec<_>, _>>().map_err(|error| fault(error.to_string()))?;
    for certificate in &certificates {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| fault(format!("a certificate is malformed: {error}")))?;
    }
    match certificates.is_empty() {
        true => Err(fault("it holds no certificate".to_owned())),
        false => Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect()),
    }
}

fn authorities(file: &Path) -> Result<Vec<Vec<u8>>, FileFault> {
    let certificates = certificates(file)?;
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(CertificateDer::from(certificate.clone())).map_err(|error| FileFault {
            file: file.to_owned(),
            why: format!("a certificate cannot be an authority: {error}"),
        })?;
    }
    Ok(certificates)
}

/// The TLS of an upstream that verifies nobody.
fn own_tls(tls: &UpstreamTls) -> Result<Arc<ClientConfig>, FileFault> {
    let identity = tls.client_certificate.as_ref().map(|files| {
        let (chain, _) = identity(files)?;
        let fault = |why: String| FileFault { file: files.key.clone(), why };
        let key = private_key(&files.key, files.password_file.as_deref()).map_err(fault)?;
        Ok((chain.into_iter().map(CertificateDer::from).collect(), key))
    });
    let fault = |error: rustls::Error| {
        let file = tls.client_certificate.as_ref().map(|files| files.certificate.clone());
        FileFault { file: file.unwrap_or_default(), why: error.to_string() }
    };
    unverified::config(tls.minimum_version, identity.transpose()?).map_err(fault)
}

/// Chain and key, which belong together.
fn identity(files: &ClientIdentity) -> Result<(Vec<Vec<u8>>, Vec<u8>), FileFault> {
    let chain = certificates(&files.certificate)?;
    let fault = |why: String| FileFault { file: files.key.clone(), why };
    let read = private_key(&files.key, files.password_file.as_deref()).map_err(fault)?;
    let der = read.secret_der().to_vec();
    pingora::tls::install_default_crypto_provider();
    rustls::ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.iter().cloned().map(CertificateDer::from).collect(), read)
        .map_err(|error| fault(error.to_string()))?;
    Ok((chain, der))
}

fn address(server: &ServerAddress) -> Result<SocketAddr, String> {
    match server {
        ServerAddress::Socket(address) => Ok(*address),
        ServerAddress::Name { host, port } => (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|error| format!("its name was not found: {error}"))?
            .next()
            .ok_or_else(|| "its name has no address".to_owned()),
        ServerAddress::Unix(path) => Err(format!("{} is no address", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(change: impl FnOnce(&mut proxy_config::Upstream)) -> Transport {
        let mut config = proxy_config::Upstream::of(["127.0.0.1:1".parse().unwrap()]);
        change(&mut config);
        Transport::new("u", &config).unwrap_or_else(|fault| panic!("{fault}"))
    }

    #[test]
    fn a_name_is_always_there_to_be_verified() {
        let plain = transport(|_| {});
        let named = transport(|config| {
            config.tls = Some(UpstreamTls {
                server_name: Some("a.example".into()),
                ..UpstreamTls::default()
            });
        });
        let unnamed = transport(|config| config.tls = Some(UpstreamTls::default()));
        for (transport, server, name) in [
            (&plain, "127.0.0.1:1", ""),
            (&named, "127.0.0.1:1", "a.example"),
            (&named, "unix:/run/a.sock", "a.example"),
            (&unnamed, "127.0.0.1:1", "127.0.0.1"),
            (&unnamed, "[::1]:1", "::1"),
            (&unnamed, "localhost:1", "localhost"),
        ] {
            let peer = transport.peer(&server.parse().unwrap(), None).unwrap();
            assert_eq!((peer.sni.as_str(), peer.options.verify_cert), (name, true), "{server}");
        }
    }

    #[test]
    fn connections_are_shared_only_where_all_is_equal() {
        let groups = [
            transport(|_| {}),
            transport(|config| config.protocol = Some(UpstreamProtocol::Http2)),
            transport(|config| config.tls = Some(UpstreamTls::default())),
            transport(|config| {
                config.tls = Some(UpstreamTls { verify: false, ..UpstreamTls::default() });
            }),
            transport(|config| config.proxy_protocol = Some(ProxyProtocolOut::V1)),
        ]
        .map(|transport| transport.group);
        for (index, group) in groups.iter().enumerate() {
            assert!(!groups[..index].contains(group), "{index}");
        }
        assert_eq!(groups[0], transport(|_| {}).group);
    }

    #[test]
    fn each_client_has_connections_of_its_own_where_it_is_announced() {
        let announced = transport(|config| config.proxy_protocol = Some(ProxyProtocolOut::V2));
        let ends = |port: u16| {
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            Some(Ends { source, destination: source })
        };
        let group = |client| {
            let peer = announced.peer(&"127.0.0.1:1".parse().unwrap(), None).unwrap();
            let aim = announced.announced(Aim::of(peer), client);
            assert!(aim.peer().options.custom_l4.is_some());
            aim.kind()
        };
        assert_eq!(group(ends(1)), group(ends(1)));
        assert_ne!(group(ends(1)), group(ends(2)));
        assert_ne!(group(ends(1)), group(None));
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        for text in
            ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(&file, text).unwrap();
            let fault = authorities(&file).unwrap_err().to_string();
            assert!(fault.contains("ca.pem"), "{fault}");
        }
    }
}
