//! Addresses: where to listen, where a server is, which networks are meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::units::{UnitError, unit_error};

/// Where to accept connections: `127.0.0.1:8080`, `[::]:443`, or `unix:/path/socket`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    Socket(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddress {
    pub const fn loopback(port: u16) -> ListenAddress {
        ListenAddress::Socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Socket(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Socket(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ListenAddress, UnitError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(text, path).map(ListenAddress::Unix);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(ListenAddress::Socket(address));
        }
        Err(listen_hint(text))
    }
}

fn listen_hint(text: &str) -> UnitError {
    let message = format!("`{text}` is not an address to listen on");
    if text.contains("://") {
        return unit_error(message, "write address and port without a scheme: `127.0.0.1:8080`");
    }
    if text.parse::<u16>().is_ok() {
        let hint = format!("write `127.0.0.1:{text}` for this machine, `0.0.0.0:{text}` for all");
        return unit_error(message, hint);
    }
    if text.parse::<IpAddr>().is_ok() {
        let host = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        return unit_error(message, format!("it has no port; write `{host}:8080`"));
    }
    match text.rsplit_once(':') {
        Some(("" | "*", port)) if port.parse::<u16>().is_ok() => {
            let hint = format!("write `0.0.0.0:{port}` for IPv4 or `[::]:{port}` for both");
            unit_error(message, hint)
        }
        Some(("localhost", port)) => {
            unit_error(message, format!("names are not looked up here; write `127.0.0.1:{port}`"))
        }
        Some((host, port)) if host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_err() => {
            unit_error(message, format!("`{port}` is not a port; ports go from 1 to 65535"))
        }
        _ => unit_error(message, "write an IP address and a port: `127.0.0.1:8080`, `[::1]:8080`"),
    }
}

/// A server of an upstream: `10.0.0.7:8080`, `[::1]:8080`, `origin.internal:8080`, or
/// `unix:/path/socket`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    Socket(SocketAddr),
    /// A name to look up when the document is loaded. Lower case.
    Name {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Socket(address) => address.fmt(f),
            ServerAddress::Name { host, port } => write!(f, "{host}:{port}"),
            ServerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<ServerAddress, UnitError> {
        let message = || format!("`{text}` is not the address of a server");
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(text, path).map(ServerAddress::Unix);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or(rest);
            let hint = match scheme {
                "https" => format!("write `{host}` and give the upstream a `tls` section"),
                _ => format!("write `{host}`, without scheme or path"),
            };
            return Err(unit_error(message(), hint));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(unit_error(message(), "write a port from 1 to 65535")),
                _ => Ok(ServerAddress::Socket(address)),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(unit_error(message(), format!("it has no port; write `{text}:80`")));
        };
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                let hint = format!("`{port}` is not a port; ports go from 1 to 65535");
                return Err(unit_error(message(), hint));
            }
        };
        let host = host.to_ascii_lowercase();
        match crate::dns_name::name_fault(&host) {
            Some(fault) => Err(unit_error(message(), fault)),
            None => Ok(ServerAddress::Name { host, port }),
        }
    }
}

fn unix_path(text: &str, path: &str) -> Result<PathBuf, UnitError> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(PathBuf::from(path));
    }
    Err(unit_error(
        format!("`{text}` is not a path of a socket"),
        "write an absolute path: `unix:/run/app.sock`",
    ))
}

/// A network or one address: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    address: IpAddr,
    prefix_bits: u8,
}

impl IpNetwork {
    /// The network of an address; none when it has not as many bits.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Option<IpNetwork> {
        let address: IpAddr = match address {
            IpAddr::V4(v4) if prefix_bits <= 32 => {
                Ipv4Addr::from(masked_v4(v4, prefix_bits)).into()
            }
            IpAddr::V6(v6) if prefix_bits <= 128 => {
                Ipv6Addr::from(masked_v6(v6, prefix_bits)).into()
            }
            _ => return None,
        };
        Some(IpNetwork { address, prefix_bits })
    }

    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                masked_v4(network, self.prefix_bits) == masked_v4(address, self.prefix_bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                masked_v6(network, self.prefix_bits) == masked_v6(address, self.prefix_bits)
            }
            _ => false,
        }
    }
}

fn masked_v4(address: Ipv4Addr, bits: u8) -> u32 {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    u32::from(address) & mask
}

fn masked_v6(address: Ipv6Addr, bits: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    u128::from(address) & mask
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix_bits == whole {
            true => self.address.fmt(f),
            false => write!(f, "{}/{}", self.address, self.prefix_bits),
        }
    }
}

impl FromStr for IpNetwork {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<IpNetwork, UnitError> {
        let wrong = || {
            unit_error(
                format!("`{text}` is not a network"),
                "write an address with or without a prefix length: `10.0.0.0/8`, `192.0.2.7`",
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => whole,
            Some(bits) => bits.parse().ok().filter(|b| *b <= whole).ok_or_else(wrong)?,
        };
        let network: IpAddr = match address {
            IpAddr::V4(v4) => Ipv4Addr::from(masked_v4(v4, prefix_bits)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from(masked_v6(v6, prefix_bits)).into(),
        };
        if network != address {
            return Err(unit_error(
                format!("`{text}` has bits set after its prefix"),
                format!("the network is `{network}/{prefix_bits}`"),
            ));
        }
        Ok(IpNetwork { address, prefix_bits })
    }
}

crate::written::written_as_text!(ListenAddress, "ListenAddress", {
    "description": "Where to listen: IP address and port (0: any free one), or `unix:` and an absolute path.",
    "type": "string",
    "examples": ["127.0.0.1:8080", "[::]:443"]
});
crate::written::written_as_text!(ServerAddress, "ServerAddress", {
    "description": "Where a server is: IP address or name, and port; or `unix:` and an absolute path.",
    "type": "string",
    "examples": ["10.0.0.7:8080", "origin.internal:8080"]
});
crate::written::written_as_text!(IpNetwork, "IpNetwork", {
    "description": "A network or one address.",
    "type": "string",
    "examples": ["10.0.0.0/8", "192.0.2.7"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["127.0.0.1:8080", "[::1]:443", "0.0.0.0:0", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<ListenAddress>().expect(text).to_string(), text);
        }
        for text in ["10.0.0.7:80", "origin.internal:8080", "[2001:db8::1]:1", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<ServerAddress>().expect(text).to_string(), text);
        }
        assert_eq!("Origin:80".parse::<ServerAddress>().expect("a name").to_string(), "origin:80");
        for text in ["", "127.0.0.1", "::1", "unix:run/a.sock", "a:80", "127.0.0.1:-1"] {
            text.parse::<ListenAddress>().expect_err(text);
        }
        for text in ["", "origin", "origin:0", "origin:99999", ":80", "a b:80", "unix:", "::1"] {
            text.parse::<ServerAddress>().expect_err(text);
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, expected) in cases {
            let network: IpNetwork = network.parse().expect("a network");
            assert_eq!(
                network.contains(address.parse().expect("an address")),
                expected,
                "{network}"
            );
            assert_eq!(network.to_string().parse(), Ok(network));
        }
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "::/129", "x", "10.0.0.0/"] {
            text.parse::<IpNetwork>().expect_err(text);
        }
    }
}
