//! Messages of DNS (RFC 1035 section 4), as much of them as a stub needs: one question, and of an answer its addresses
//! and aliases. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name on the wire that are taken: servers hand out longer ones than the 255 of RFC 1035.
const NAME_BYTES_MAX: usize = 1024;
const LABEL_BYTES_MAX: usize = 63;
/// Pointers followed in one name.
const POINTERS_MAX: usize = 32;
/// Records of an answer that are looked at.
const RECORDS_MAX: u16 = 128;
const HEADER_BYTES: usize = 12;
const IN: u16 = 1;
const CNAME: u16 = 5;

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    A,
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::A => 1,
            Kind::Aaaa => 28,
        }
    }
}

/// A name as its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Vec<Box<[u8]>>);

impl Name {
    /// Nothing where a label is empty or too long.
    pub fn of(text: &str) -> Option<Name> {
        let fits = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len());
        if !text.split('.').all(fits) {
            return None;
        }
        let name = Name(text.split('.').map(|label| Box::from(label.as_bytes())).collect());
        (name.bytes() <= NAME_BYTES_MAX).then_some(name)
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|label| label.len() + 1).sum()
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: u16,
    /// 0 when it is well.
    pub code: u8,
    /// There is more, over TCP.
    pub truncated: bool,
    pub addresses: Vec<IpAddr>,
    /// The last name that the one asked for stands for.
    pub alias: Option<Name>,
    /// Seconds that all of it may be kept.
    pub ttl_s: u32,
}

/// A question, with recursion desired.
pub fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.bytes() + 5);
    bytes.extend_from_slice(&id.to_be_bytes());
    for number in [0x0100_u16, 1, 0, 0, 0] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for label in &name.0 {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.code().to_be_bytes());
    bytes.extend_from_slice(&IN.to_be_bytes());
    bytes
}

/// The answer to a question of this kind; nothing for what is none, or is malformed.
pub fn read(bytes: &[u8], kind: Kind) -> Option<Answer> {
    let flags = u16_at(bytes, 2)?;
    let is_answer = flags & 0x8000 != 0;
    let mut answer = Answer {
        id: u16_at(bytes, 0)?,
        code: u8::try_from(flags & 0xf).ok()?,
        truncated: flags & 0x0200 != 0,
        addresses: Vec::new(),
        alias: None,
        ttl_s: u32::MAX,
    };
    let (questions, records) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
    if !is_answer || questions > 1 || records > RECORDS_MAX {
        return None;
    }
    let mut at = HEADER_BYTES;
    if questions == 1 {
        at = name_at(bytes, at)?.1 + 4;
    }
    for _ in 0..records {
        at = name_at(bytes, at)?.1;
        let (of, class, ttl_s) =
            (u16_at(bytes, at)?, u16_at(bytes, at + 2)?, u32_at(bytes, at + 4)?);
        let length = usize::from(u16_at(bytes, at + 8)?);
        at += 10;
        let data = bytes.get(at..at + length)?;
        match of {
            _ if class != IN => {}
            CNAME => {
                answer.alias = Some(name_at(bytes, at)?.0);
                answer.ttl_s = answer.ttl_s.min(ttl_s);
            }
            of if of == kind.code() => {
                let address = match kind {
                    Kind::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
                    Kind::Aaaa => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
                };
                answer.addresses.push(address);
                answer.ttl_s = answer.ttl_s.min(ttl_s);
            }
            _ => {}
        }
        at += length;
    }
    Some(answer)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The name that begins here, and where what follows it begins (RFC 1035 section 4.1.4).
fn name_at(bytes: &[u8], start: usize) -> Option<(Name, usize)> {
    let (mut labels, mut length) = (Vec::new(), 0);
    let (mut at, mut end, mut pointers) = (start, None, 0);
    loop {
        let first = usize::from(*bytes.get(at)?);
        match first >> 6 {
            0 if first == 0 => return Some((Name(labels), end.unwrap_or(at + 1))),
            0 => {
                let label = bytes.get(at + 1..at + 1 + first)?;
                length += first + 1;
                if length > NAME_BYTES_MAX {
                    return None;
                }
                labels.push(Box::from(label));
                at += first + 1;
            }
            3 => {
                let low = usize::from(*bytes.get(at + 1)?);
                end.get_or_insert(at + 2);
                pointers += 1;
                if pointers > POINTERS_MAX {
                    return None;
                }
                at = ((first & 0x3f) << 8) | low;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to a question for `a.example`, with these records after it.
    fn answer(flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = question(7, &Name::of("a.example").unwrap(), Kind::A);
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[7] = u8::try_from(records.len()).unwrap();
        bytes.extend(records.concat());
        bytes
    }

    fn record(of: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xc0, 12];
        bytes.extend(of.to_be_bytes());
        bytes.extend(IN.to_be_bytes());
        bytes.extend(ttl_s.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn addresses_and_aliases_are_found_with_the_shortest_time() {
        let alias = record(CNAME, 5, &[1, b'b', 0xc0, 14]);
        let bytes =
            answer(0x8180, &[alias, record(1, 60, &[10, 0, 0, 1]), record(1, 9, &[10, 0, 0, 1])]);
        let found = read(&bytes, Kind::A).unwrap();
        let address: IpAddr = [10, 0, 0, 1].into();
        assert_eq!((found.id, found.code, found.truncated, found.ttl_s), (7, 0, false, 5));
        assert_eq!(found.addresses, [address, address], "as they were told");
        assert_eq!(found.alias, Name::of("b.example"));
        assert_eq!(read(&bytes, Kind::Aaaa).unwrap().addresses, Vec::<IpAddr>::new());
        let failed = read(&answer(0x8382, &[]), Kind::A).unwrap();
        assert_eq!((failed.code, failed.truncated), (2, true));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let question = question(1, &Name::of("a").unwrap(), Kind::Aaaa);
        assert_eq!(read(&question, Kind::Aaaa), None);
        for records in [
            vec![record(1, 1, &[10, 0, 0])],
            vec![vec![0xc0, 12, 0, 1]],
            vec![record(CNAME, 1, &[0xc0, 39])],
        ] {
            assert_eq!(read(&answer(0x8180, &records), Kind::A), None, "{records:?}");
        }
        for wrong in ["", "a..b", &"a".repeat(64), &"a.".repeat(600)] {
            assert_eq!(Name::of(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, Kind::A);
            let mut bytes = bytes;
            bytes.splice(0..0, [0, 1, 0x80, 0, 0, 1, 0, 3]);
            let _ = read(&bytes, Kind::Aaaa);
        }
    }
}
