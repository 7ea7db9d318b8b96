//! Listeners: where requests come in.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::{IpNetwork, ListenAddress};
use crate::host::HostName;
use crate::units::{ByteSize, Duration};

/// An address that accepts connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where to accept connections: `127.0.0.1:8080`, `[::]:443`, or `unix:/path/socket`. Port 0
    /// is any free one. A socket's file is open to all who can reach it: its directory says who can.
    pub address: ListenAddress,
    /// HTTP/2: by prior knowledge in cleartext, by ALPN with `tls`.
    #[serde(default = "yes")]
    pub http2: bool,
    /// TLS; without it the listener speaks cleartext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Whether connections open with a PROXY protocol header (v1 or v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// Networks whose PROXY protocol header or `client_address_header` is believed. Peers over a Unix
    /// socket are trusted: the permissions of its file say who may connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNetwork>,
    /// Header that trusted proxies put the client's address in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address_header: Option<String>,
    /// Connections open at once; above it new ones are closed as they come.
    #[serde(default = "connections_max")]
    pub connections_max: u32,
    /// Connections the kernel holds before they are accepted; without it, as many as the system allows
    /// (`net.core.somaxconn`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog_max: Option<u32>,
    /// Whether lines of a request's head may end in a line feed alone, as RFC 9112 allows servers to take them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare_line_feeds: bool,
    /// Whether the host of an absolute target takes the place of a `Host` that differs, as RFC 9112 section 3.2.2 has it;
    /// without it such a request is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_of_target: bool,
    /// Whether clients that wait for `100 Continue` are told to go on by the proxy, and servers hear nothing of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_continue: bool,
    /// Methods answered with 405 whatever the route, in capitals: `TRACE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods_refused: Vec<String>,
    /// Limits on the head of a request.
    #[serde(default, skip_serializing_if = "RequestHeadLimits::are_default")]
    pub request_head: RequestHeadLimits,
    /// How long a client may take.
    #[serde(default)]
    pub timeouts: ListenerTimeouts,
    /// Requests served on one connection of HTTP/1 before it is closed; without it, any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_requests_max: Option<u32>,
}

fn yes() -> bool {
    true
}

fn connections_max() -> u32 {
    16_384
}

impl Listener {
    /// A cleartext listener with every default.
    pub fn at(address: ListenAddress) -> Listener {
        Listener {
            address,
            http2: true,
            tls: None,
            proxy_protocol: None,
            trusted_proxies: Vec::new(),
            client_address_header: None,
            connections_max: connections_max(),
            backlog_max: None,
            bare_line_feeds: false,
            host_of_target: false,
            answers_continue: false,
            methods_refused: Vec::new(),
            request_head: RequestHeadLimits::default(),
            timeouts: ListenerTimeouts::default(),
            keep_alive_requests_max: None,
        }
    }
}

/// TLS on a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates to choose from by server name; the first is shown when none fits. Of several for
    /// one name the first is shown whose signatures the client can verify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateFiles>,
    /// Names for which no handshake is finished (alert `access_denied`, RFC 8446 section 6.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedNames>,
    /// Oldest TLS version accepted.
    #[serde(default)]
    pub minimum_version: TlsVersion,
    /// Cipher suites by their IANA names, in order of preference; without it, those of rustls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Certificates asked of clients (mutual TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Session resumption by tickets; without it, with the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_tickets: Option<SessionTickets>,
    /// Certificates fetched from an ACME authority (RFC 8555), one for each name, and renewed while a third of their
    /// lifetime is left, or when the authority says (RFC 9773). Until a name's first one is there, clients that ask for it are
    /// shown what `certificates` have for it, or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// Whether a fresh OCSP response is sent with each certificate that names a responder (RFC 6066 section 8). It is fetched
    /// over HTTP and verified by the issuer's certificate, which has to stand after the certificate in its file. Where there is none,
    /// handshakes go on without. Let's Encrypt, for one, has ended OCSP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp_stapling: Option<bool>,
}

/// Server names (SNI, RFC 6066 section 3) that clients ask for in vain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefusedNames {
    /// Whether clients are refused that ask for no name, or for one that no certificate is for. Without it they are
    /// shown the first certificate.
    pub unknown: bool,
    /// Names that are refused though a certificate is for them (`*.` for any name below).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the certificate and its chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// File with pass phrases, one a line, of which one opens the key, where it is encrypted (PKCS #8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Server names it is shown for (`*.` for any name below); without it, the names in the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
}

/// A version of TLS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

/// The cipher suites there are, in the order in which they are preferred unless the document has its own.
pub const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// How many of [`CIPHER_SUITES`], the first, are those of TLS 1.3.
pub(crate) const CIPHER_SUITES_1_3: usize = 3;

/// What is asked of clients in mutual TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file with the authorities that may have signed a client's certificate; only with `mode: asked` it may be
    /// left out, and then none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    #[serde(default)]
    pub mode: ClientCertificateMode,
    /// PEM file with revoked certificates (CRL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocations: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificateMode {
    /// Without a certificate the handshake fails.
    #[default]
    Required,
    /// Without a certificate the request goes on; `$client_subject` is then empty. One that is shown is
    /// verified all the same.
    Optional,
    /// Whatever is shown, the request goes on, and `$client_verified` says what came of it: `SUCCESS`, `FAILED:` and why,
    /// or `NONE`. Other variables tell of certificates that were not verified, too: routes must look at this one.
    Asked,
}

/// Session resumption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionTickets {
    /// How long a ticket is valid; keys rotate at half of it.
    pub lifetime: Duration,
    /// File with a secret of 32 bytes or more from which machines derive the same keys; without it each
    /// process makes its own, and forgets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl Default for SessionTickets {
    fn default() -> SessionTickets {
        SessionTickets { lifetime: Duration::secs(12 * 3600), key_file: None }
    }
}

/// Certificates from an ACME authority. That names are this proxy's is proved over HTTP where a listener speaks cleartext
/// (`http-01`: the authority asks at port 80), else in a handshake (`tls-alpn-01`: at port 443).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// URL of the authority's directory: `https://acme-v02.api.letsencrypt.org/directory`. Who names it agrees to the
    /// authority's terms of service.
    pub directory: String,
    /// Names to ask certificates for, each of its own. Wildcards cannot be proved.
    pub hosts: Vec<HostName>,
    /// Address of mail the authority may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Directory that keeps the account's key, the certificates with their keys, and what went wrong. It is made where it
    /// is not there, for the proxy's user alone. Processes that share it order nothing twice.
    pub state_path: PathBuf,
    /// PEM file with the authorities that the directory's own certificate is verified by; without it, those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
}

/// What is expected of the PROXY protocol on incoming connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocolIn {
    /// Taken when it is there.
    Optional,
    /// A connection without it is closed.
    Required,
    /// A connection without it is closed, whoever makes it; only what `trusted_proxies` say is believed, `$introduced` is
    /// what anybody says.
    Read,
}

/// Limits on the head of a request; above them the answer is 431 or 414. Heads of more than 1,000,000 bytes or 256
/// header lines are refused with 431 in any case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestHeadLimits {
    /// All header lines together.
    pub bytes_max: ByteSize,
    /// Number of header lines, 256 at most.
    pub headers_max: u32,
    /// The request target.
    pub uri_max: ByteSize,
}

impl RequestHeadLimits {
    fn are_default(&self) -> bool {
        *self == RequestHeadLimits::default()
    }
}

impl Default for RequestHeadLimits {
    fn default() -> RequestHeadLimits {
        RequestHeadLimits {
            bytes_max: ByteSize::kib(64),
            headers_max: 128,
            uri_max: ByteSize::kib(16),
        }
    }
}

/// How long a client may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two reads of a request's body. Over HTTP/2 only until the answer has begun, and not in calls of gRPC.
    pub body: Duration,
    /// Between two writes of a response; each moves up to 64 KiB.
    pub write: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
}

impl Default for ListenerTimeouts {
    fn default() -> ListenerTimeouts {
        ListenerTimeouts {
            head: Duration::secs(10),
            body: Duration::secs(30),
            write: Duration::secs(30),
            idle: Duration::secs(60),
            handshake: Duration::secs(10),
        }
    }
}
