//! Who the client is, where proxies in front of this one are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;
use pingora::proxy::Session;
use proxy_config::address::IpNetwork;
use proxy_config::listener::{Listener, ProxyProtocolIn};
use proxy_config::route_access::ClientRule;

use crate::proxy_protocol::Ends;

/// The client's address: that of the peer, or, when the listener trusts the peer, what the header
/// says. Each proxy has appended whom it saw, so the list is read from its end, as far as the
/// entries are trusted proxies: what stands before the first that is not may be made up.
/// A peer over a Unix socket has no address and is trusted.
pub fn client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    introduced: Option<Ends>,
    listener: &Listener,
) -> Option<IpAddr> {
    let Some(name) = &listener.client_address_header else {
        let is_believed = listener.proxy_protocol == Some(ProxyProtocolIn::Read)
            && peer.is_none_or(|peer| is_trusted(peer, &listener.trusted_proxies));
        let introduced = introduced.filter(|_| is_believed);
        return introduced.map(|ends| ends.source.ip().to_canonical()).or(peer);
    };
    let mut client = peer;
    let fields = headers.get_all(name.as_str()).iter();
    let list: Vec<&str> = fields.flat_map(|v| v.to_str().unwrap_or_default().split(',')).collect();
    let is_forwarded = name.eq_ignore_ascii_case(FORWARDED.as_str());
    for entry in list.into_iter().rev() {
        if client.is_some_and(|client| !is_trusted(client, &listener.trusted_proxies)) {
            break;
        }
        let entry = if is_forwarded { forwarded_for(entry) } else { entry.trim() };
        // An entry that is no address (`unknown`, a made-up name) ends what can be known.
        let Some(address) = address(entry) else { break };
        client = Some(address);
    }
    client
}

/// The client as a route's own rule has it.
pub fn by_rule(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    introduced: Option<Ends>,
    rule: &ClientRule,
) -> Option<IpAddr> {
    let believed = peer.map_or(rule.trust_unix, |peer| is_trusted(peer, &rule.trusted_proxies));
    if !believed {
        return peer;
    }
    let Some(name) = &rule.header else {
        return introduced.map(|ends| ends.source.ip().to_canonical()).or(peer);
    };
    let mut client = peer;
    let fields = headers.get_all(name.as_str()).iter();
    let list: Vec<&str> = fields.flat_map(|v| v.to_str().unwrap_or_default().split(',')).collect();
    for entry in list.into_iter().rev() {
        let Some(address) = address(entry.trim()) else { break };
        client = Some(address);
        if !rule.recursive || !is_trusted(address, &rule.trusted_proxies) {
            break;
        }
    }
    client
}

/// The client's connection as the PROXY protocol tells of it. A client that is known by a header alone
/// has no port.
pub fn ends(session: &Session, client: Option<IpAddr>) -> Option<Ends> {
    let peer = session.client_addr()?.as_inet()?;
    let destination = session.server_addr()?.as_inet()?;
    let client = client?;
    let port = if peer.ip().to_canonical() == client.to_canonical() { peer.port() } else { 0 };
    Some(Ends { source: SocketAddr::new(client, port), destination: *destination })
}

/// Whether what this peer says of a client is believed.
pub fn is_trusted(address: IpAddr, networks: &[IpNetwork]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The `for` of an element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &str) -> &str {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    named.next().map_or("", |(_, value)| value.trim().trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, header: &str, fields: &[(&'static str, &str)]) -> String {
        let mut listener = Listener::at("127.0.0.1:80".parse().unwrap());
        listener.trusted_proxies =
            vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        listener.client_address_header = Some(header.to_owned());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        client(peer.parse().ok(), &headers, None, &listener).unwrap().to_string()
    }

    #[test]
    fn a_list_is_believed_from_its_end_as_far_as_proxies_are_trusted() {
        let of =
            |peer: &str, list: &str| found(peer, "X-Forwarded-For", &[("x-forwarded-for", list)]);
        assert_eq!(of("192.0.2.1", "198.51.100.7"), "192.0.2.1", "the peer is not trusted");
        assert_eq!(of("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(of("::ffff:10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(of("a Unix socket", "1.1.1.1, 198.51.100.7"), "198.51.100.7");
        assert_eq!(of("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2"), "198.51.100.7");
        assert_eq!(of("10.0.0.1", "10.0.0.3,10.0.0.2"), "10.0.0.3", "all are trusted");
        assert_eq!(of("10.0.0.1", "198.51.100.7, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(of("10.0.0.1", ""), "10.0.0.1");
        assert_eq!(of("2001:db8::1", "[2001:0db9::7]:443"), "2001:db9::7");
        assert_eq!(of("10.0.0.1", "198.51.100.7:1234"), "198.51.100.7");
    }

    #[test]
    fn fields_of_one_name_are_one_list() {
        let fields = [("x-real", "1.1.1.1"), ("x-real", "198.51.100.7"), ("x-real", "10.0.0.9")];
        assert_eq!(found("10.0.0.1", "x-real", &fields), "198.51.100.7");
        assert_eq!(found("10.0.0.1", "x-other", &fields), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_it_is_written() {
        let of = |list: &str| found("10.0.0.1", "Forwarded", &[("forwarded", list)]);
        assert_eq!(of("for=1.1.1.1, For=\"[2001:db9::7]:1\";proto=https;by=x"), "2001:db9::7");
        assert_eq!(of("proto=https;for=198.51.100.7"), "198.51.100.7");
        assert_eq!(of("for=198.51.100.7, for=_hidden"), "10.0.0.1");
    }
}
