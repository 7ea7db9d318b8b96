//! Which server takes a request, as a pure function of a snapshot: no clock, no lock, no chance but
//! what is handed in.

use std::net::IpAddr;

/// One server that may take the request, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its index among all servers of the upstream.
    pub index: usize,
    /// Names it for good, whatever its index.
    pub id: u64,
    /// Above 0; a server that came back has a part of it.
    pub weight: u64,
    pub in_flight: u32,
    /// Moving average; 0 when nothing was measured.
    pub latency_ns: u64,
}

/// How to choose. Credits are kept between choices, one for each server of the upstream.
#[derive(Debug)]
pub enum Rule<'a> {
    InTurn(&'a mut [i64]),
    /// Those equally loaded take turns.
    LeastConnections(&'a mut [i64]),
    /// The hash of what chooses the server.
    Hash(u64),
    /// A random number.
    TwoRandom(u64),
    /// The client's address, and the weight of each server that is no backup, fit or not. Who has no address, or hits
    /// only servers that are not fit, takes his turn.
    ClientAddress(Option<IpAddr>, Vec<u32>, &'a mut [i64]),
}

/// The index of the server that takes the request; nothing when there is no candidate.
pub fn choose(candidates: &[Candidate], rule: Rule<'_>) -> Option<usize> {
    match rule {
        Rule::InTurn(credit) => in_turn(candidates.iter(), credit),
        Rule::LeastConnections(credit) => {
            let least = candidates.iter().min_by(|one, other| load(one, other))?;
            in_turn(candidates.iter().filter(|one| load(one, least).is_eq()), credit)
        }
        Rule::Hash(key) => {
            let chosen = candidates
                .iter()
                .min_by(|one, other| distance(key, one).total_cmp(&distance(key, other)));
            chosen.map(|candidate| candidate.index)
        }
        Rule::TwoRandom(draw) => two_random(candidates, draw),
        Rule::ClientAddress(address, weights, credit) => {
            let hit = address.and_then(|address| by_address(candidates, address, &weights));
            hit.or_else(|| in_turn(candidates.iter(), credit))
        }
    }
}

/// Hashes made before giving up.
const HASHES_MAX: u32 = 20;

/// As nginx's `ip_hash` draws: the first three bytes of IPv4, all of IPv6; anew, from the hash itself, when a server is
/// not fit.
fn by_address(candidates: &[Candidate], address: IpAddr, weights: &[u32]) -> Option<usize> {
    let total: u32 = weights.iter().sum();
    let octets = match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut hash = 89_u32;
    for _ in 0..HASHES_MAX {
        hash = octets.iter().fold(hash, |hash, byte| (hash * 113 + u32::from(*byte)) % 6271);
        let mut drawn = hash.checked_rem(total)?;
        let hit = weights.iter().position(|weight| {
            let is_hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_hit
        });
        if let Some(candidate) = candidates.iter().find(|candidate| Some(candidate.index) == hit) {
            return Some(candidate.index);
        }
    }
    None
}

/// Smooth weighted round robin: each server's credit grows by its weight, the largest credit is
/// served and pays the sum of all. Spreads evenly, and exactly by weight over each full cycle.
fn in_turn<'a>(
    candidates: impl Iterator<Item = &'a Candidate>,
    credit: &mut [i64],
) -> Option<usize> {
    let mut chosen: Option<usize> = None;
    let mut sum = 0;
    for candidate in candidates {
        let (at, weight) = (candidate.index, i64::try_from(candidate.weight).unwrap_or(i64::MAX));
        credit[at] += weight;
        sum += weight;
        if chosen.is_none_or(|best| credit[at] > credit[best]) {
            chosen = Some(at);
        }
    }
    credit[chosen?] -= sum;
    chosen
}

/// Compares requests in flight for the weight.
fn load(one: &Candidate, other: &Candidate) -> std::cmp::Ordering {
    let product = |a: &Candidate, b: &Candidate| u128::from(a.in_flight) * u128::from(b.weight);
    product(one, other).cmp(&product(other, one))
}

/// Rendezvous hashing by weight: each server draws a number from the key, and the nearest takes it.
/// When a server goes, its keys alone move; there is no ring to keep.
fn distance(key: u64, candidate: &Candidate) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a draw needs no more than 53 bits")]
    let (draw, weight) = ((mix(key ^ mix(candidate.id)) >> 11) as f64, candidate.weight as f64);
    -((draw + 1.0) / (1u64 << 53) as f64).ln() / weight
}

/// The finisher of splitmix64: every bit of the input moves every bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Two different ones at random; the cheaper by latency times what is in flight, for its weight.
fn two_random(candidates: &[Candidate], draw: u64) -> Option<usize> {
    let count = u64::try_from(candidates.len()).ok()?;
    if count < 2 {
        return candidates.first().map(|candidate| candidate.index);
    }
    let (high, low) = (draw >> 32, draw & 0xffff_ffff);
    let first = high % count;
    let second = (first + 1 + low % (count - 1)) % count;
    let at = |index: u64| &candidates[usize::try_from(index).unwrap_or(0)];
    let (one, other) = (at(first), at(second));
    Some(if cost(one, other) <= cost(other, one) { one.index } else { other.index })
}

/// Cost of `one`, to be held against that of `other`: a server nobody has measured is taken to be
/// as fast as the other, so that not everything goes to it at once.
fn cost(one: &Candidate, other: &Candidate) -> u128 {
    let latency_ns = match (one.latency_ns, other.latency_ns) {
        (0, 0) => 1,
        (0, known) | (known, _) => known,
    };
    u128::from(latency_ns) * (u128::from(one.in_flight) + 1) * u128::from(other.weight)
}

/// Time over which an old measurement loses two thirds of its weight.
const MEMORY_NS: f64 = 10e9;

/// The average after one more measurement, `since_ns` after the last. It rises at once and sinks
/// slowly, so that a server that became slow is noticed with its first answer.
pub fn moving_average(before_ns: u64, sample_ns: u64, since_ns: u64) -> u64 {
    if before_ns <= sample_ns {
        return sample_ns;
    }
    #[expect(clippy::cast_precision_loss, reason = "an average needs no more than 53 bits")]
    let keep = (-(since_ns as f64) / MEMORY_NS).exp();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between the two"
    )]
    let sunk = ((before_ns - sample_ns) as f64 * keep) as u64;
    sample_ns + sunk
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(weights: &[u64]) -> Vec<Candidate> {
        let weights = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        weights
            .map(|(index, weight)| Candidate {
                index,
                id: mix(index as u64 + 1),
                weight: *weight,
                in_flight: 0,
                latency_ns: 0,
            })
            .collect()
    }

    fn turns(weights: &[u64], count: usize) -> Vec<usize> {
        let (mut credit, servers) = (vec![0; weights.len()], servers(weights));
        (0..count).filter_map(|_| choose(&servers, Rule::InTurn(&mut credit))).collect()
    }

    #[test]
    fn turns_follow_weights_exactly_and_evenly() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[1, 1], 4), [0, 1, 0, 1]);
        assert_eq!(turns(&[0, 3], 3), [1, 1, 1]);
        assert!(turns(&[0, 0], 1).is_empty() && turns(&[], 1).is_empty());
        let many = turns(&[7, 2, 1], 1000);
        let count = |server| many.iter().filter(|at| **at == server).count();
        assert_eq!((count(0), count(1), count(2)), (700, 200, 100));
    }

    #[test]
    fn the_least_loaded_takes_it_and_equals_take_turns() {
        let mut all = servers(&[1, 2, 1]);
        let mut credit = vec![0; 3];
        let mut least =
            |all: &[Candidate]| choose(all, Rule::LeastConnections(&mut credit)).unwrap();
        (all[0].in_flight, all[1].in_flight, all[2].in_flight) = (1, 1, 2);
        assert_eq!(least(&all), 1, "1 of 2 is less than 1 of 1");
        (all[0].in_flight, all[1].in_flight, all[2].in_flight) = (1, 4, 1);
        assert_eq!([least(&all), least(&all), least(&all), least(&all)], [0, 2, 0, 2]);
    }

    #[test]
    fn hashed_keys_spread_by_weight() {
        let all = servers(&[1, 3]);
        let of_first = (0..10_000u64).filter(|key| choose(&all, Rule::Hash(mix(*key))) == Some(0));
        let count = of_first.count();
        assert!((2300..2700).contains(&count), "{count} of 10000 with a quarter of the weight");
    }

    #[test]
    fn an_average_rises_at_once_and_sinks_slowly() {
        assert_eq!(moving_average(0, 5, 0), 5);
        assert_eq!(moving_average(100, 5000, 1), 5000);
        let sunk = moving_average(5000, 100, 10_000_000_000);
        assert!((1800..2000).contains(&sunk), "{sunk}");
        assert_eq!(moving_average(5000, 100, u64::MAX), 100);
    }

    fn any_servers() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (1u64..50, 0u32..20, 0u64..1_000_000, any::<u64>());
        proptest::collection::vec(one, 1..8).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered
                .map(|(index, (weight, in_flight, latency_ns, id))| Candidate {
                    index,
                    id,
                    weight,
                    in_flight,
                    latency_ns,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn only_candidates_are_chosen_and_one_always_is(all in any_servers(), draw in any::<u64>()) {
            let mut credit = vec![0; all.len()];
            for rule in 0..4 {
                let rule = match rule {
                    0 => Rule::InTurn(&mut credit),
                    1 => Rule::LeastConnections(&mut credit),
                    2 => Rule::Hash(draw),
                    _ => Rule::TwoRandom(draw),
                };
                let some = &all[all.len() / 2..];
                let chosen = choose(some, rule).expect("there is a candidate");
                prop_assert!(some.iter().any(|candidate| candidate.index == chosen));
            }
        }

        #[test]
        fn when_a_server_goes_its_keys_alone_move(all in any_servers(), key in any::<u64>(), gone in 0usize..8) {
            let before = choose(&all, Rule::Hash(key));
            let left: Vec<_> = all.iter().copied().filter(|one| one.index != gone).collect();
            if before != Some(gone) {
                prop_assert_eq!(choose(&left, Rule::Hash(key)), before);
            }
        }

        #[test]
        fn of_two_the_cheaper_is_taken(mut all in any_servers(), draw in any::<u64>()) {
            all.truncate(2);
            let chosen = choose(&all, Rule::TwoRandom(draw)).unwrap();
            if let [one, other] = all[..] {
                let (taken, left) = if chosen == 0 { (one, other) } else { (other, one) };
                prop_assert!(cost(&taken, &left) <= cost(&left, &taken));
            }
        }

        #[test]
        fn nobody_is_less_loaded_than_the_least(all in any_servers()) {
            let mut credit = vec![0; all.len()];
            let chosen = choose(&all, Rule::LeastConnections(&mut credit)).unwrap();
            prop_assert!(all.iter().all(|other| load(&all[chosen], other).is_le()));
        }
    }
}
