//! What is known of a request when a template is rendered: the request itself, what expressions
//! captured of it, and maps.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;

use crate::address::IpNetwork;
use crate::captures::Captures;
use crate::config::Config;
use crate::kept_body::Told;
use crate::leads::Leads;
use crate::load::Figures;
use crate::map::Map;
use crate::matching::Target;
use crate::pattern::ValueMatch;
use crate::proved::Proved;
use crate::template::{Compiled, Scope};
use crate::text_match::ValueTest;
use crate::tried::Tried;
use crate::variables::Variables;

/// A request, as templates see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub target: Target<'a>,
    /// Path and query as the client asked for them, before any rewrite.
    pub request_uri: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    pub client: Option<IpAddr>,
    pub request_id: &'a str,
    pub proved: &'a Proved,
    pub captures: &'a Captures,
    pub maps: &'a Maps,
    /// What steps have set.
    pub set: &'a Variables,
    /// Servers asked so far.
    pub tried: &'a Tried,
    /// Its body, where that is kept.
    pub body: Option<&'a Arc<Told>>,
    pub connection: Connection<'a>,
}

/// What is known of the connection a request came on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection<'a> {
    /// Who connects.
    pub peer: Option<SocketAddr>,
    /// Where it was accepted.
    pub local: Option<SocketAddr>,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: &'a str,
    /// When the request is looked at.
    pub now: Option<SystemTime>,
    /// Counted by the process.
    pub number: Option<u64>,
    /// Requests it has carried, this one included.
    pub requests: Option<u64>,
    /// Source and destination that a PROXY protocol header names.
    pub introduced: Option<(SocketAddr, SocketAddr)>,
    pub tls: Option<&'a Tls>,
    /// Name of this machine.
    pub machine: &'a str,
    /// Who knows how much is going on.
    pub figures: Option<Figures<'a>>,
}

/// What a TLS handshake has agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Name the client asked for; empty when it named none.
    pub server_name: String,
    /// `TLSv1.3`
    pub version: String,
    pub cipher: String,
    pub reused: bool,
}

static NOTHING_TRIED: Tried = Tried::nothing();
static NOTHING_SET: Variables = Variables::none();
static NOTHING_PROVED: Proved = Proved::nothing();

impl<'a> Facts<'a> {
    /// A request of which nothing is known but its target.
    pub fn of(target: Target<'a>, captures: &'a Captures, maps: &'a Maps) -> Facts<'a> {
        Facts {
            target,
            request_uri: target.path,
            scheme: "http",
            client: None,
            request_id: "",
            proved: &NOTHING_PROVED,
            captures,
            maps,
            set: &NOTHING_SET,
            tried: &NOTHING_TRIED,
            body: None,
            connection: Connection::default(),
        }
    }
}

impl Facts<'_> {
    /// The values of a header, as one list; bytes that are not UTF-8 become U+FFFD.
    /// All values of a header as they came.
    pub(crate) fn header_bytes(&self, name: &str) -> Vec<u8> {
        let all = self.target.headers.into_iter().flat_map(|headers| headers.get_all(name));
        all.map(http::HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..])
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let all = self.target.headers.into_iter().flat_map(|headers| headers.get_all(name));
        let all: Vec<_> = all.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        all.join(", ")
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        cookie(self.target.headers?, name)
    }

    pub(crate) fn basic_user(&self) -> Option<String> {
        basic_user(self.target.headers?)
    }

    /// A parameter of the query, as it is escaped there.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.target.query.split('&');
        pairs.find_map(|pair| match pair.split_once('=') {
            Some((is, value)) => (is == name).then_some(value),
            None => (pair == name).then_some(""),
        })
    }
}

/// The first cookie of this name (RFC 6265 section 4.2).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(http::header::COOKIE).iter();
    let pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(';'));
    pairs.map(str::trim).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The user that Basic authentication names (RFC 7617), whether or not anybody has checked it.
pub fn basic_user(headers: &HeaderMap) -> Option<String> {
    let credentials = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = credentials.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let pair = String::from_utf8_lossy(&decoded).into_owned();
    Some(pair.split_once(':')?.0.to_owned())
}

/// The maps of a document, made ready. They do not refer to themselves: validation sees to it.
#[derive(Clone, Debug, Default)]
pub struct Maps(BTreeMap<String, CompiledMap>);

#[derive(Clone, Debug)]
struct CompiledMap {
    of: Compiled,
    behind: Vec<IpNetwork>,
    behind_all: bool,
    cases: Vec<(ValueTest, Compiled)>,
    ignore_case: bool,
    /// Hundredths of a percent that draw this value or one before it.
    shares: Vec<(u32, Compiled)>,
    default: Compiled,
}

impl Maps {
    /// A map that validation refuses is left out.
    pub fn new(config: &Config) -> Maps {
        let maps = &config.maps;
        let leads = Leads::new(config);
        let scope = leads.scope();
        let compile = |map: &Map| {
            let case = |case: &crate::map::MapCase| {
                let value = Compiled::new(&case.value.0, &case_scope(&scope, &case.when)).ok()?;
                let test = match (map.ignore_case, ValueTest::new(&case.when)) {
                    (true, ValueTest::Exact(text)) => ValueTest::Exact(text.to_lowercase()),
                    (true, ValueTest::Prefix(text)) => ValueTest::Prefix(text.to_lowercase()),
                    (_, test) => test,
                };
                Some((test, value))
            };
            let mut drawn = 0;
            let share = |share: &crate::map::MapShare| {
                drawn += u32::from(share.share.hundredths());
                Some((drawn, Compiled::new(&share.value.0, &scope).ok()?))
            };
            Some(CompiledMap {
                of: Compiled::new(&map.of.0, &scope).ok()?,
                behind: map.behind.clone(),
                behind_all: map.behind_all,
                cases: map.cases.iter().map(case).collect::<Option<_>>()?,
                ignore_case: map.ignore_case,
                shares: map.shares.iter().map(share).collect::<Option<_>>()?,
                default: Compiled::new(&map.default.0, &scope).ok()?,
            })
        };
        Maps(maps.iter().filter_map(|(name, map)| Some((name.clone(), compile(map)?))).collect())
    }

    pub(crate) fn value(&self, name: &str, facts: &Facts<'_>) -> String {
        let Some(map) = self.0.get(name) else { return String::new() };
        let text = match map.behind.as_slice() {
            [] => map.of.render(facts),
            proxies => behind(map.of.render(facts), proxies, map.behind_all, facts),
        };
        if !map.shares.is_empty() {
            let hash = u64::from(murmur_hash2(text.as_bytes()));
            let drawn = map
                .shares
                .iter()
                .find(|(drawn, _)| hash < u64::from(*drawn) * u64::from(u32::MAX) / 10_000);
            return drawn.map_or(&map.default, |(_, value)| value).render(facts);
        }
        let lower = map.ignore_case.then(|| text.to_lowercase());
        let takes = |test: &ValueTest| match (test, &lower) {
            (ValueTest::Exact(_) | ValueTest::Prefix(_), Some(lower)) => test.takes(lower),
            _ => test.takes(&text),
        };
        let Some((test, value)) = map.cases.iter().find(|(test, _)| takes(test)) else {
            return map.default.render(facts);
        };
        let mut captures = Captures::default();
        test.capture(&text, &mut captures);
        value.render_with(facts, &captures)
    }
}

/// The address behind proxies, as `X-Forwarded-For` has it.
fn behind(address: String, proxies: &[IpNetwork], all: bool, facts: &Facts<'_>) -> String {
    let is_proxy = |text: &str| {
        let address = text.parse::<IpAddr>();
        address.is_ok_and(|address| proxies.iter().any(|proxy| proxy.contains(address)))
    };
    let list = facts.header("x-forwarded-for");
    let mut found = address;
    for entry in list.split(',').rev().map(str::trim) {
        if !is_proxy(&found) || entry.parse::<IpAddr>().is_err() {
            break;
        }
        entry.clone_into(&mut found);
        if !all {
            break;
        }
    }
    found
}

/// MurmurHash2 by Austin Appleby (32 bits, seed 0), which nginx draws by.
fn murmur_hash2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut blocks = data.chunks_exact(4);
    for block in &mut blocks {
        let mut word = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        word = word.wrapping_mul(M);
        word = (word ^ (word >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// What the value of a case may use: the captures of its own expression.
pub(crate) fn case_scope<'a>(scope: &Scope<'a>, when: &ValueMatch) -> Scope<'a> {
    let mut scope = Scope { maps: scope.maps.clone(), set: scope.set, ..Scope::default() };
    if let ValueMatch::Regex(regex) = when
        && let Ok(regex) = regex.compile()
    {
        scope.add(&regex);
    }
    scope
}
