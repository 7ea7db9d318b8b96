//! How the network's range is divided: one subnet for each tier in each zone.

use std::net::Ipv4Addr;

use crate::environment::aws::Network;

/// What lives in a subnet, and so what its routes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Balancers and NAT gateways: the only tier with a route from the internet.
    Public,
    /// The proxy's instances: out through NAT.
    Edge,
    /// The ledger's instances: out through NAT.
    App,
    /// Databases and caches: no route out at all.
    Data,
}

impl Tier {
    pub const ALL: [Self; 4] = [Self::Public, Self::Edge, Self::App, Self::Data];

    /// As part of logical ids.
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "Public",
            Self::Edge => "Edge",
            Self::App => "App",
            Self::Data => "Data",
        }
    }

    fn index(self) -> u32 {
        match self {
            Self::Public => 0,
            Self::Edge => 1,
            Self::App => 2,
            Self::Data => 3,
        }
    }
}

/// One subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub tier: Tier,
    pub zone: u8,
    pub cidr: String,
}

impl Subnet {
    /// `EdgeSubnetA`.
    pub fn id(&self) -> String {
        format!("{}Subnet{}", self.tier.word(), letter(self.zone))
    }
}

/// A zone's letter in logical ids.
pub fn letter(zone: u8) -> char {
    char::from(b'A' + zone % 26)
}

/// Divides the range into sixteen: four tiers with room for four zones each, so that a third zone
/// comes later without moving what is there.
pub fn divide(network: &Network) -> Vec<Subnet> {
    let Some((start, prefix)) = range(&network.cidr) else { return Vec::new() };
    let size = 1_u32 << (28 - prefix);
    let subnet = |tier: Tier, zone: u8| {
        let first = u32::from(start) + (tier.index() * 4 + u32::from(zone)) * size;
        Subnet { tier, zone, cidr: format!("{}/{}", Ipv4Addr::from(first), prefix + 4) }
    };
    Tier::ALL
        .iter()
        .flat_map(|tier| (0..network.zones).map(move |zone| subnet(*tier, zone)))
        .collect()
}

/// First address and prefix length of `10.20.0.0/16`; none when it is not a range of /1 to /24 that
/// begins at its first address.
pub fn range(cidr: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, prefix) = cidr.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| (1..=24).contains(prefix))?;
    let below = u32::from(address) & (u32::MAX >> prefix);
    (below == 0).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_have_their_own_quarter_and_zones_their_place_in_it() {
        let network = Network { zones: 2, ..Network::default() };
        let cidrs: Vec<String> =
            divide(&network).iter().map(|s| format!("{} {}", s.id(), s.cidr)).collect();
        assert_eq!(cidrs[0], "PublicSubnetA 10.20.0.0/20");
        assert_eq!(cidrs[1], "PublicSubnetB 10.20.16.0/20");
        assert_eq!(cidrs[2], "EdgeSubnetA 10.20.64.0/20");
        assert_eq!(cidrs[7], "DataSubnetB 10.20.208.0/20");
        let three = divide(&Network { zones: 3, ..Network::default() });
        assert!(divide(&network).iter().all(|subnet| three.contains(subnet)));
    }

    #[test]
    fn a_range_begins_at_its_first_address() {
        assert_eq!(range("10.20.0.0/16"), Some((Ipv4Addr::new(10, 20, 0, 0), 16)));
        for wrong in ["10.20.0.1/16", "10.20.0.0", "10.20.0.0/33", "10.20/16", "10.20.0.0/0"] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
