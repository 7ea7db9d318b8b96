//! The PROXY protocol: who a connection is made for, told ahead of its first byte. HAProxy's
//! specification ("The PROXY protocol", versions 1 and 2). Pure: bytes to headers and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, its CR LF included.
const LINE_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is read; its additions are passed over.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Both ends of a connection, as its maker saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy speaks for itself, or does not say for whom.
    Local,
    For(Ends),
}

/// How far the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// They do not begin with a header.
    Absent,
    /// A header of this many bytes.
    Whole(Header, usize),
}

/// A header that cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the PROXY protocol header is malformed: {0}")]
pub struct HeaderFault(&'static str);

/// Reads the header at the beginning of these bytes.
pub fn read(bytes: &[u8]) -> Result<Progress, HeaderFault> {
    if begins(bytes, SIGNATURE) {
        return if bytes.len() < FIXED_BYTES { Ok(Progress::More) } else { read_v2(bytes) };
    }
    match begins(bytes, WORD) {
        true => read_v1(bytes),
        false => Ok(Progress::Absent),
    }
}

/// Whether these bytes are, as far as they go, the beginning of `start` and what follows it.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let known = bytes.len().min(start.len());
    bytes[..known] == start[..known]
}

fn read_v1(bytes: &[u8]) -> Result<Progress, HeaderFault> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return match within.len() < LINE_BYTES_MAX && !within.contains(&b'\n') {
            true => Ok(Progress::More),
            false => Err(HeaderFault("the line does not end")),
        };
    };
    let line = std::str::from_utf8(&within[..end]).map_err(|_| HeaderFault("it is not ASCII"))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Progress::Whole(Header::Local, end + 2));
    }
    let addresses = [words.next(), words.next()].map(|word| {
        let address: IpAddr = word.and_then(|word| word.parse().ok())?;
        let fits = if family == "TCP4" { address.is_ipv4() } else { address.is_ipv6() };
        (fits && matches!(family, "TCP4" | "TCP6")).then_some(address)
    });
    let ports = [words.next(), words.next()].map(|word| port(word?));
    let ([Some(source), Some(destination)], [Some(source_port), Some(port)], None) =
        (addresses, ports, words.next())
    else {
        return Err(HeaderFault("it is not two addresses and two ports"));
    };
    let ends = Ends {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, port),
    };
    Ok(Progress::Whole(Header::For(ends), end + 2))
}

/// Decimal, without sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (word == "0" || !word.starts_with('0'))).then(|| word.parse().ok())?
}

fn read_v2(bytes: &[u8]) -> Result<Progress, HeaderFault> {
    let [version_and_command, family] = [bytes[12], bytes[13]];
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version_and_command >> 4 != 2 {
        return Err(HeaderFault("its version is unknown"));
    }
    if length > HEADER_BYTES_MAX {
        return Err(HeaderFault("it is too long"));
    }
    if bytes.len() < length {
        return Ok(Progress::More);
    }
    let body = &bytes[FIXED_BYTES..length];
    let header = match (version_and_command & 0xf, family) {
        (0, _) => Header::Local,
        (1, 0x11) => Header::For(ends_v4(body).ok_or(HeaderFault("it is too short"))?),
        (1, 0x21) => Header::For(ends_v6(body).ok_or(HeaderFault("it is too short"))?),
        // Unix sockets, datagrams and what is to come say nothing about an address here.
        (1, _) => Header::Local,
        _ => return Err(HeaderFault("its command is unknown")),
    };
    Ok(Progress::Whole(header, length))
}

fn ends_v4(body: &[u8]) -> Option<Ends> {
    let address = |at: usize| -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?))
    };
    Some(Ends {
        source: SocketAddr::new(address(0)?.into(), port_at(body, 8)?),
        destination: SocketAddr::new(address(4)?.into(), port_at(body, 10)?),
    })
}

fn ends_v6(body: &[u8]) -> Option<Ends> {
    let address = |at: usize| -> Option<Ipv6Addr> {
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?))
    };
    Some(Ends {
        source: SocketAddr::new(address(0)?.into(), port_at(body, 32)?),
        destination: SocketAddr::new(address(16)?.into(), port_at(body, 34)?),
    })
}

fn port_at(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(<[u8; 2]>::try_from(body.get(at..at + 2)?).ok()?))
}

/// The header in version 1.
pub fn write_v1(header: Header) -> Vec<u8> {
    let Header::For(ends) = header else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let (family, ends) = match of_one_family(ends) {
        ends if ends.source.is_ipv4() => ("TCP4", ends),
        ends => ("TCP6", ends),
    };
    let Ends { source, destination } = ends;
    let addresses = format!("{} {}", source.ip(), destination.ip());
    format!("PROXY {family} {addresses} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

/// The header in version 2.
pub fn write_v2(header: Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Header::For(ends) = header else {
        bytes.extend([0x20, 0, 0, 0]);
        return bytes;
    };
    let Ends { source, destination } = of_one_family(ends);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend([0x21, 0x11, 0, 12]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (source, destination) => {
            bytes.extend([0x21, 0x21, 0, 36]);
            bytes.extend(as_v6(source).octets());
            bytes.extend(as_v6(destination).octets());
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

/// A header has one family; an IPv4 address beside an IPv6 address is written as a mapped one.
fn of_one_family(ends: Ends) -> Ends {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (plain(ends.source), plain(ends.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Ends { source, destination };
    }
    let mapped = |end: SocketAddr| SocketAddr::new(as_v6(end.ip()).into(), end.port());
    Ends { source: mapped(source), destination: mapped(destination) }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Header {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Header::For(Ends { source, destination })
    }

    #[test]
    fn lines_of_version_1() {
        let four = ends("192.0.2.1:1000", "198.51.100.1:443");
        let six = ends("[2001:db8::1]:1000", "[2001:db8::2]:443");
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\nGET", Some(four)),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", Some(six)),
            ("PROXY UNKNOWN\r\n", Some(Header::Local)),
            ("PROXY UNKNOWN whatever it says\r\n", Some(Header::Local)),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 1000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1000\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1000 443 1\r\n", None),
            ("PROXY TCP4 192.0.2.1  198.51.100.1 1000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 01000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +1000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 70000 443\r\n", None),
            ("PROXY TCP5 192.0.2.1 198.51.100.1 1000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\n", None),
            ("PROXY \r\n", None),
        ] {
            let read = read(line.as_bytes());
            let found = match read {
                Ok(Progress::Whole(header, length)) => {
                    assert!(line[..length].ends_with("\r\n"), "{line:?}");
                    Some(header)
                }
                Err(_) => None,
                other => panic!("{line:?}: {other:?}"),
            };
            assert_eq!(found, expected, "{line:?}");
        }
        assert!(read(format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_bytes() {
        for other in ["GET / HTTP/1.1\r\n", "PROXX", "\x16\x03\x01", "\r\n\r\nGET"] {
            assert_eq!(read(other.as_bytes()), Ok(Progress::Absent), "{other:?}");
        }
        for start in ["", "P", "PROXY ", "PROXY TCP4 192.0.2.1", "\r\n\r\n\0\r\nQUIT\n\x21"] {
            assert_eq!(read(start.as_bytes()), Ok(Progress::More), "{start:?}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let header = |rest: &[u8]| [SIGNATURE, rest].concat();
        let additions = header(&[0x21, 0x11, 0, 15, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10, 4, 0, 0]);
        assert_eq!(read(&additions), Ok(Progress::Whole(ends("1.2.3.4:9", "5.6.7.8:10"), 31)));
        for (rest, expected) in [
            (&[0x20, 0x11, 0, 2, 9, 9][..], Ok(Progress::Whole(Header::Local, 18))),
            (&[0x21, 0x31, 0, 1, 9], Ok(Progress::Whole(Header::Local, 17))),
            (&[0x21, 0x12, 0, 0], Ok(Progress::Whole(Header::Local, 16))),
            (&[0x21, 0x11, 0, 4, 1, 2, 3, 4], Err(HeaderFault("it is too short"))),
            (&[0x22, 0x11, 0, 0], Err(HeaderFault("its command is unknown"))),
            (&[0x31, 0x11, 0, 0], Err(HeaderFault("its version is unknown"))),
            (&[0x21, 0x11, 0xff, 0xff], Err(HeaderFault("it is too long"))),
        ] {
            assert_eq!(read(&header(rest)), expected, "{rest:?}");
        }
    }

    fn end() -> impl Strategy<Value = SocketAddr> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical()),
        ];
        (address, any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(source in end(), destination in end(), after in any::<[u8; 3]>()) {
            let header = Header::For(Ends { source, destination });
            for written in [write_v1(header), write_v2(header)] {
                let length = written.len();
                let found = read(&[&written[..], &after[..]].concat());
                let Ok(Progress::Whole(Header::For(found), found_length)) = found else {
                    panic!("{found:?}");
                };
                prop_assert_eq!(found_length, length);
                prop_assert_eq!(found.source.ip().to_canonical(), source.ip());
                prop_assert_eq!(found.destination.ip().to_canonical(), destination.ip());
                for part in 0..length {
                    prop_assert_eq!(read(&written[..part]), Ok(Progress::More));
                }
            }
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..3) {
            let start: &[u8] = match version { 1 => WORD, 2 => SIGNATURE, _ => b"" };
            let _ = read(&[start, &bytes].concat());
        }
    }
}
