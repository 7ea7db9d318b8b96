//! `geo`: a variable looked up by address, in networks or in ranges.

use std::net::{IpAddr, Ipv4Addr};

use proxy_config::address::IpNetwork;
use proxy_config::map::MapCase;
use proxy_config::pattern::{Template, ValueMatch};

use crate::translate::lookup::{Found, found, plain};
use crate::translate::variable::{Names, Place};
use crate::tree::{Directive, flattened};
use crate::verdict::Verdicts;

/// A network and the value of its addresses.
type Row = (IpNetwork, Template);

/// The map, and how it differs.
pub fn translate<'a>(
    source: &'a Directive,
    names: &mut Names<'a>,
    verdicts: &mut Verdicts,
) -> Result<(Found, Vec<String>), String> {
    let of = match source.arguments.len() {
        1 => "$remote_addr",
        _ => source.argument(0).unwrap_or_default(),
    };
    let of = names.text(of, &Place::default(), verdicts)?;
    let rows = flattened(source.children());
    let said = |name: &str| rows.iter().any(|row| row.name == name && row.arguments.is_empty());
    let ranges = said("ranges");
    let mut map = plain(of, Vec::new());
    let mut found_rows: Vec<Row> = Vec::new();
    let mut proxies = Vec::new();
    for row in &rows {
        let key = row.name.as_str();
        let Some(text) = row.argument(0) else {
            if key != "ranges" && key != "proxy_recursive" {
                return Err(format!("{key} in geo is not translated; write networks"));
            }
            continue;
        };
        let value = Template(text.replace('$', "$$"));
        match key {
            "default" => map.default = value,
            "proxy" => proxies.push(network(text)?),
            "delete" => {
                let gone = networks(text, ranges)?;
                found_rows.retain(|(known, _)| !gone.contains(known));
            }
            "include" => return Err("a file that geo includes was not read".to_owned()),
            _ => {
                for network in networks(key, ranges)? {
                    // The last line for a network holds.
                    found_rows.retain(|(known, _)| *known != network);
                    found_rows.push((network, value.clone()));
                }
            }
        }
    }
    (map.behind, map.behind_all) = (proxies, said("proxy_recursive"));
    // nginx takes the narrowest network.
    found_rows.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_bits()));
    let case = |(network, value)| MapCase { when: ValueMatch::Network(network), value };
    map.cases = found_rows.into_iter().map(case).collect();
    Ok((found(map), Vec::new()))
}

fn network(text: &str) -> Result<IpNetwork, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: Option<IpAddr> = address.parse().ok();
    let whole = if address.is_some_and(|address| address.is_ipv4()) { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok());
    // Bits behind the prefix mean nothing.
    let network = address.zip(bits).and_then(|(address, bits)| IpNetwork::new(address, bits));
    network.ok_or_else(|| format!("{text:?} in geo is no network"))
}

fn networks(text: &str, ranges: bool) -> Result<Vec<IpNetwork>, String> {
    match text.split_once('-').filter(|_| ranges) {
        Some((first, last)) => {
            let bound = |text: &str| text.parse::<Ipv4Addr>().map(u32::from);
            match (bound(first), bound(last)) {
                (Ok(first), Ok(last)) if first <= last => Ok(covering(first, last)),
                _ => Err(format!("{text:?} in geo is no range")),
            }
        }
        None => network(text).map(|network| vec![network]),
    }
}

/// The fewest networks that have these addresses and no others.
fn covering(first: u32, last: u32) -> Vec<IpNetwork> {
    let mut networks = Vec::new();
    let (mut at, end) = (u64::from(first), u64::from(last) + 1);
    while at < end {
        let mut size = if at == 0 { 1 << 32 } else { at & at.wrapping_neg() };
        while at + size > end {
            size >>= 1;
        }
        let bits = 32 - u8::try_from(size.trailing_zeros()).unwrap_or(32);
        let address = Ipv4Addr::from(u32::try_from(at).unwrap_or(0));
        networks.extend(IpNetwork::new(IpAddr::V4(address), bits));
        at += size;
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_networks_together() {
        for (range, expected) in [
            ("192.0.2.1-192.0.2.1", "192.0.2.1"),
            ("10.0.0.0-10.255.255.255", "10.0.0.0/8"),
            ("10.0.0.1-10.0.0.4", "10.0.0.1 10.0.0.2/31 10.0.0.4"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
            ("255.255.255.254-255.255.255.255", "255.255.255.254/31"),
        ] {
            let found = networks(range, true).unwrap();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{range}");
        }
        assert!(networks("10.0.0.2-10.0.0.1", true).is_err());
    }
}
