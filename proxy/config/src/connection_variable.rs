//! Variables of the connection a request came on, and of the process: TLS, the client's certificate, a PROXY protocol
//! header, the clock, how much is going on.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::facts::Facts;
use crate::load::Load;
use crate::proved::Certificate;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionVariable {
    Number,
    Requests,
    Introduced,
    IntroducedPort,
    IntroducedTo,
    IntroducedToPort,
    TlsServerName,
    TlsVersion,
    TlsCipher,
    TlsReused,
    ClientVerified,
    ClientIssuer,
    ClientSerial,
    ClientPem,
    ClientPemEscaped,
    ClientSha1,
    ClientFrom,
    ClientUntil,
    Now,
    DateGmt,
    Machine,
    Open,
    Accepted,
    Handled,
    AllRequests,
    UnderWay,
    Waiting,
}

use ConnectionVariable as V;

/// Their names, and what they are.
pub const CONNECTION_VARIABLES: [(&str, ConnectionVariable, &str); 27] = [
    ("connection", V::Number, "number of the connection, counted by the process"),
    (
        "connection_requests",
        V::Requests,
        "how many requests the connection has carried, this one included",
    ),
    (
        "introduced",
        V::Introduced,
        "address that the PROXY protocol header names as the client's, believed or not",
    ),
    ("introduced_port", V::IntroducedPort, "its port"),
    ("introduced_to", V::IntroducedTo, "address that it names as the one the client connected to"),
    ("introduced_to_port", V::IntroducedToPort, "its port"),
    ("tls_server_name", V::TlsServerName, "name the client asked for in the TLS handshake (SNI)"),
    ("tls_version", V::TlsVersion, "version of TLS: `TLSv1.3`"),
    ("tls_cipher", V::TlsCipher, "cipher suite of TLS, by its IANA name"),
    ("tls_reused", V::TlsReused, "`r` when the TLS session was resumed, `.` when not"),
    (
        "client_verified",
        V::ClientVerified,
        "`SUCCESS`, `FAILED:` and why, or `NONE`: what the client's certificate is worth (`client_certificates.mode: asked`)",
    ),
    ("client_issuer", V::ClientIssuer, "issuer of the client's certificate"),
    ("client_serial", V::ClientSerial, "serial number of the client's certificate, in hex"),
    (
        "client_pem",
        V::ClientPem,
        "the client's certificate in PEM; several lines, so it cannot stand in a header",
    ),
    ("client_pem_escaped", V::ClientPemEscaped, "the same, escaped as in a URL"),
    ("client_sha1", V::ClientSha1, "SHA-1 of the client's certificate, in hex"),
    ("client_valid_from", V::ClientFrom, "time from which the client's certificate is valid"),
    ("client_valid_until", V::ClientUntil, "time until which it is"),
    ("now", V::Now, "seconds since 1970, with milliseconds"),
    ("date_gmt", V::DateGmt, "date and time as in `Friday, 27-Nov-2026 16:09:24 GMT`"),
    ("machine", V::Machine, "name of this machine"),
    ("connections_open", V::Open, "client connections of this process that are open"),
    ("connections_accepted", V::Accepted, "client connections it has accepted"),
    ("connections_handled", V::Handled, "those of them that it did not refuse"),
    ("connections_waiting", V::Waiting, "those open that wait for a request"),
    ("requests_total", V::AllRequests, "requests it has had, those under way included"),
    ("requests_under_way", V::UnderWay, "requests under way"),
];

pub(crate) fn named(name: &str) -> Option<ConnectionVariable> {
    CONNECTION_VARIABLES.iter().find(|(is, ..)| *is == name).map(|(_, variable, _)| *variable)
}

impl ConnectionVariable {
    pub(crate) fn write(self, facts: &Facts<'_>, text: &mut String) {
        let connection = &facts.connection;
        let certificate = |of: fn(&Certificate) -> &str| {
            facts.proved.certificate.as_ref().map_or("", |certificate| of(certificate)).to_owned()
        };
        let tls = |of: fn(&crate::facts::Tls) -> &str| connection.tls.map_or("", of).to_owned();
        let introduced = connection.introduced;
        let shown = |value: Option<String>| value.unwrap_or_default();
        let load = |of: fn(&Load) -> u64| {
            shown(connection.figures.map(|figures| of(&figures.0.load()).to_string()))
        };
        let value = match self {
            V::Number => shown(connection.number.map(|number| number.to_string())),
            V::Requests => shown(connection.requests.map(|count| count.to_string())),
            V::Introduced => shown(introduced.map(|(from, _)| from.ip().to_string())),
            V::IntroducedPort => shown(introduced.map(|(from, _)| from.port().to_string())),
            V::IntroducedTo => shown(introduced.map(|(_, to)| to.ip().to_string())),
            V::IntroducedToPort => shown(introduced.map(|(_, to)| to.port().to_string())),
            V::TlsServerName => tls(|tls| &tls.server_name),
            V::TlsVersion => tls(|tls| &tls.version),
            V::TlsCipher => tls(|tls| &tls.cipher),
            V::TlsReused => {
                connection.tls.map_or("", |tls| if tls.reused { "r" } else { "." }).to_owned()
            }
            V::ClientVerified => match &facts.proved.certificate {
                Some(certificate) => certificate.verified.clone(),
                None if connection.tls.is_some() => "NONE".to_owned(),
                None => String::new(),
            },
            V::ClientIssuer => certificate(|certificate| &certificate.issuer),
            V::ClientSerial => certificate(|certificate| &certificate.serial),
            V::ClientPem => certificate(|certificate| &certificate.pem),
            V::ClientPemEscaped => {
                crate::proved::url_escaped(&certificate(|certificate| &certificate.pem))
            }
            V::ClientSha1 => certificate(|certificate| &certificate.sha1),
            V::ClientFrom => certificate(|certificate| &certificate.valid_from),
            V::ClientUntil => certificate(|certificate| &certificate.valid_until),
            V::Now => {
                if let Some(since) =
                    connection.now.and_then(|now| now.duration_since(UNIX_EPOCH).ok())
                {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{}.{:03}", since.as_secs(), since.subsec_millis());
                }
                return;
            }
            V::DateGmt => connection.now.map(long_date).unwrap_or_default(),
            V::Machine => connection.machine.to_owned(),
            V::Open => load(|load| load.open),
            V::Accepted => load(|load| load.accepted),
            V::Handled => load(|load| load.handled),
            V::AllRequests => load(|load| load.requests),
            V::UnderWay => load(|load| load.under_way),
            V::Waiting => load(Load::waiting),
        };
        text.push_str(&value);
    }
}

/// `Friday, 27-Nov-2026 16:09:24 GMT`, as nginx has it.
fn long_date(now: std::time::SystemTime) -> String {
    const DAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let short = httpdate::fmt_http_date(now);
    let (day, rest) = short.split_once(", ").unwrap_or(("", short.as_str()));
    let day = DAYS.iter().find(|long| long.starts_with(day)).unwrap_or(&"");
    format!("{day}, {}", rest.replacen(' ', "-", 2))
}
