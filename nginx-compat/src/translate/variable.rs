//! Variables: text of nginx.conf as a template of the proxy. Maps and the like are translated when
//! something translated uses them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proxy_config::connection_variable::CONNECTION_VARIABLES;
use proxy_config::ending::ENDINGS;
use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Regex, Template, ValueMatch};
use proxy_config::steps::Condition;
use proxy_config::template::VARIABLES;

use crate::translate::as_sent::AS_SENT;
use crate::translate::captured;
use crate::translate::fastcgi::Script;
use crate::translate::identity;
use crate::translate::link;
use crate::translate::lookup;
use crate::translate::named;
use crate::translate::of_answer::of_answer;
use crate::translate::redirected::literal;
use crate::translate::referer;
use crate::translate::regex::convert;
use crate::translate::value::{slug, unique};
use crate::tree::{Directive, walk};
use crate::verdict::{Verdict, Verdicts};

/// nginx's name and the template that means the same.
const SAME: &[(&str, &str)] = &[
    ("args", "query"),
    ("query_string", "query"),
    ("binary_remote_addr", "client"),
    ("content_length", "header_content_length"),
    ("content_type", "header_content_type"),
    ("document_uri", "path"),
    ("uri", "path"),
    ("host", "host"),
    ("is_args", "question_mark"),
    ("proxy_add_x_forwarded_for", "forwarded_for"),
    ("realip_remote_addr", "peer"),
    ("realip_remote_port", "peer_port"),
    ("remote_addr", "client"),
    ("remote_port", "peer_port"),
    ("request_id", "request_id"),
    ("request_method", "method"),
    ("request_uri", "request_uri"),
    ("scheme", "scheme"),
    ("server_addr", "local_address"),
    ("server_port", "port"),
    ("server_protocol", "protocol"),
    ("connection", "connection"),
    ("date_gmt", "date_gmt"),
    ("connection_requests", "connection_requests"),
    ("hostname", "machine"),
    ("connections_active", "connections_open"),
    ("connections_waiting", "connections_waiting"),
    ("connections_writing", "requests_under_way"),
    ("msec", "now"),
    ("proxy_protocol_addr", "introduced"),
    ("proxy_protocol_port", "introduced_port"),
    ("proxy_protocol_server_addr", "introduced_to"),
    ("proxy_protocol_server_port", "introduced_to_port"),
    ("ssl_cipher", "tls_cipher"),
    ("ssl_client_escaped_cert", "client_pem_escaped"),
    ("ssl_client_fingerprint", "client_sha1"),
    ("ssl_client_i_dn", "client_issuer"),
    ("ssl_client_raw_cert", "client_pem"),
    ("ssl_client_s_dn", "client_subject"),
    ("ssl_client_serial", "client_serial"),
    ("ssl_client_v_end", "client_valid_until"),
    ("ssl_client_v_start", "client_valid_from"),
    ("ssl_client_verify", "client_verified"),
    ("ssl_protocol", "tls_version"),
    ("ssl_server_name", "tls_server_name"),
    ("ssl_session_reused", "tls_reused"),
];

/// What is told as `$nginx_version`.
const NGINX_VERSION: &str = "1.22.1";

/// Set by steps of routes, where something that several servers share asks for it.
pub const SERVER_NAME: &str = "own_server_name";

/// What variables mean at one place.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// None where it is the same for several servers: then steps of their routes say it.
    pub server_name: Option<String>,
    /// The document root, where one is in effect.
    pub root: Option<String>,
    /// The alias in the root's place, and the prefix it stands for, where it is one.
    pub alias: Option<(String, Option<String>)>,
    /// The cache zone, where a variable names it.
    pub zone: Option<String>,
    /// What stands before the path of a redirect, where it is not `${origin}`.
    pub origin: Option<String>,
    /// Whether a path stands there as it is, and not to be sent on.
    pub is_text: bool,
    /// `$proxy_host` and `$proxy_port`.
    pub proxy: Option<(String, String)>,
    /// Whether it is asked over TLS.
    pub proxy_tls: bool,
    /// Whether it is about an answer, which is there by then.
    pub answer: bool,
    /// Whether it is what an answer written here says, which may stand in for that of an upstream.
    pub page: bool,
    /// How scripts are found in paths.
    pub script: Script,
    /// Whose pages may link there, where that is said.
    pub referers: Option<Vec<String>>,
    /// Whether links are checked there.
    pub link: bool,
    /// Whether it is told when the request has ended, which then says more of it.
    pub ended: bool,
    /// Whether no certificate is taken for verified there.
    pub vouches_for_none: bool,
    /// Whether `$uri` is the address as it was sent.
    pub as_sent: bool,
    /// Whether the path has a slash at its beginning that nginx's lacks, and texts put one before it.
    pub puts_slash: bool,
    /// What captures of the path come from, where nothing else captures.
    pub expression: Option<Regex>,
}

impl Place {
    /// The scheme its upstream is asked by.
    pub fn asked_by(&self) -> &'static str {
        if self.proxy_tls { "https" } else { "http" }
    }

    pub fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or("${origin}")
    }
}

/// The variables of a configuration.
#[derive(Debug, Default)]
pub struct Names<'a> {
    /// `map`, `geo` and `split_clients`, by the variable they make.
    sources: HashMap<&'a str, &'a Directive>,
    /// Made by `set`, and by names in expressions.
    own: BTreeSet<String>,
    /// What `set` gives each variable.
    set: HashMap<&'a str, Vec<String>>,
    pub maps: BTreeMap<String, Map>,
    /// Whether something asks for the name of whichever server it is.
    pub needs_server_name: bool,
    /// Names of those under way, or that cannot be translated, and why.
    lost: HashMap<String, String>,
}

impl<'a> Names<'a> {
    pub fn new(directives: &'a [Directive]) -> Names<'a> {
        let mut names = Names::default();
        walk(directives, &mut |directive| {
            let variable = match directive.name.as_str() {
                "map" | "split_clients" => directive.argument(1),
                "geo" => directive.argument(directive.arguments.len().saturating_sub(1)),
                "set" | "auth_request_set" => {
                    let name = directive.argument(0).map(bare).unwrap_or_default();
                    names.own.insert(name.to_owned());
                    let to = directive.argument(1).unwrap_or_default();
                    names.set.entry(name).or_default().push(to.to_owned());
                    None
                }
                _ => None,
            };
            if let Some(variable) = variable {
                names.sources.insert(bare(variable), directive);
            }
            names.own.extend(directive.texts().flat_map(named_groups));
        });
        names
    }

    /// The template that means the same as a text, or which of its variables is in the way.
    pub fn text(
        &mut self,
        text: &str,
        place: &Place,
        verdicts: &mut Verdicts,
    ) -> Result<Template, String> {
        self.text_with(text, place, verdicts, &mut |_, why| Err(why))
    }

    /// The same, where more is known than of a request alone: `further` gives the template of a
    /// variable for which there is no other, or says why there is none.
    pub fn text_with(
        &mut self,
        text: &str,
        place: &Place,
        verdicts: &mut Verdicts,
        further: &mut dyn FnMut(&str, String) -> Result<String, String>,
    ) -> Result<Template, String> {
        let mut template = String::new();
        for part in parts(text)? {
            match part {
                Part::Text(text) => template.push_str(&text.replace('$', "$$")),
                Part::Variable(name) => match self.variable(name, place, verdicts) {
                    Ok(Meaning::Text(text)) => template.push_str(&text.replace('$', "$$")),
                    Ok(Meaning::Template(text)) => template.push_str(&text),
                    Err(why) => template.push_str(&further(name, why)?),
                },
            }
        }
        Ok(Template(template))
    }

    /// `$request_filename`: the root and the path, or the alias and what is behind its prefix.
    fn file(&mut self, place: &Place, verdicts: &mut Verdicts) -> Result<String, String> {
        let Some((alias, prefix)) = &place.alias else {
            let root = place.root.as_deref().ok_or("no root is in effect")?;
            return Ok(format!("{}${{path_text}}", self.text(root, place, verdicts)?.0));
        };
        let alias = self.text(alias, place, verdicts)?.0;
        let Some(prefix) = prefix else { return Ok(alias) };
        let name = format!("below_{}", slug(prefix).replace('-', "_"));
        let find = convert(&format!("^{}(?<below>.*)$", literal(prefix)), false)?;
        let value = Template("${below}".to_owned());
        let case = MapCase { when: ValueMatch::Regex(find), value };
        let map = lookup::plain(Template("${path_text}".to_owned()), vec![case]);
        self.maps.insert(name.clone(), map);
        Ok(format!("{alias}${{{name}}}"))
    }

    /// `$fastcgi_script_name` and `$fastcgi_path_info`: what an expression finds in the path, or the path and, where it
    /// ends in a slash, the index.
    fn script(&mut self, place: &Place, what: &str) -> Result<Meaning, String> {
        let path = "${path_text}";
        let is_name = what == "script_name";
        let mut cases = Vec::new();
        let mut case = |find: &str, value: String| {
            let when = ValueMatch::Regex(convert(find, false)?);
            cases.push(MapCase { when, value: Template(value) });
            Ok::<_, String>(())
        };
        if let Some(split) = &place.script.split {
            case(split, if is_name { "${1}".to_owned() } else { "${2}".to_owned() })?;
        }
        if let (Some(index), true) = (&place.script.index, is_name) {
            if index.contains('$') {
                return Err("a script named by variables is not translated".to_owned());
            }
            case("^(.*/)$", format!("${{1}}{index}"))?;
        }
        let default = if is_name { path } else { "" };
        if cases.is_empty() {
            return Ok(Meaning::Template(default.to_owned()));
        }
        let map = lookup::plain(Template(path.to_owned()), cases);
        let map = Map { default: Template(default.to_owned()), ..map };
        let same = |name: &str| self.maps.get(name).is_none_or(|known| *known == map);
        let wanted = format!("fastcgi_{what}");
        let name = unique(&wanted, |name| !same(&name.replace('-', "_"))).replace('-', "_");
        self.maps.insert(name.clone(), map);
        Ok(Meaning::Template(format!("${{{name}}}")))
    }

    /// What makes a variable: `map`, `geo` or `split_clients`.
    pub fn source(&self, name: &str) -> Option<&'a Directive> {
        self.sources.get(name).copied()
    }

    /// The condition that an expression finds nothing in the path, which captures nothing.
    pub fn unless(&mut self, (line, find): (usize, &str)) -> Result<Condition, String> {
        let value = Template("1".to_owned());
        let case = MapCase { when: ValueMatch::Regex(convert(find, false)?), value };
        let map = lookup::plain(Template("${path_text}".to_owned()), vec![case]);
        let same = |name: &str| self.maps.get(name).is_none_or(|known| *known == map);
        let wanted = format!("spared_by_line_{line}");
        let name = unique(&wanted, |name| !same(&name.replace('-', "_"))).replace('-', "_");
        self.maps.insert(name.clone(), map);
        Ok(Condition { of: Template(format!("${{{name}}}")), is: None, not: true })
    }

    /// Whether an expression captures something under this name, and no step sets it.
    pub fn is_captured(&self, name: &str) -> bool {
        self.own.contains(name) && !self.set.contains_key(name) && !self.sources.contains_key(name)
    }

    fn variable(
        &mut self,
        name: &str,
        place: &Place,
        verdicts: &mut Verdicts,
    ) -> Result<Meaning, String> {
        let variable = |name: &str| Ok(Meaning::Template(format!("${{{name}}}")));
        if ["uri", "document_uri"].contains(&name) && (place.is_text || place.as_sent) {
            return variable(if place.as_sent { AS_SENT } else { "path_text" });
        }
        if name == "ssl_client_verify" && place.vouches_for_none {
            return Ok(Meaning::Template(identity::unverified(&mut self.maps)));
        }
        if let Some((_, same)) = SAME.iter().find(|(known, _)| *known == name) {
            return variable(same);
        }
        let after = |start: &str| name.strip_prefix(start).filter(|rest| !rest.is_empty());
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, Some(find)) = (place.is_text, &place.expression)
            && (is_number || self.is_captured(name))
            && let Some(told) = captured::told(self, find, name)
        {
            return variable(&told);
        }
        if is_number {
            return variable(name);
        }
        if let Some(source) = self.sources.get(name).copied() {
            return self.looked_up(name, source, verdicts);
        }
        if self.own.contains(name) && is_legal(&own_name(name)) {
            return variable(&own_name(name));
        }
        if let Some(parameter) = after("arg_") {
            return Ok(Meaning::Template(named::parameter(parameter, &mut self.maps)?));
        }
        if let Some(cookie) = after("cookie_") {
            return Ok(Meaning::Template(named::cookie(cookie, &mut self.maps)?));
        }
        if let Some(header) = after("http_") {
            return variable(&format!("header_{header}"));
        }
        self.of_place(name, place, verdicts)
    }

    /// What depends on where it stands.
    fn of_place(
        &mut self,
        name: &str,
        place: &Place,
        verdicts: &mut Verdicts,
    ) -> Result<Meaning, String> {
        let variable = |name: &str| Ok(Meaning::Template(format!("${{{name}}}")));
        match (name, &place.proxy) {
            ("server_name", _) => match &place.server_name {
                Some(name) => Ok(Meaning::Text(name.clone())),
                None => {
                    self.needs_server_name = true;
                    variable(SERVER_NAME)
                }
            },
            ("document_root" | "realpath_root", _) => {
                let root = place.root.as_deref().ok_or("no root is in effect")?;
                self.text(root, place, verdicts).map(|root| Meaning::Template(root.0))
            }
            ("fastcgi_script_name", _) => self.script(place, "script_name"),
            ("fastcgi_path_info", _) => self.script(place, "path_info"),
            (link::WORTH | link::EXPIRES, _) => match place.link {
                true => variable(name),
                false => Ok(Meaning::Text(String::new())),
            },
            (referer::INVALID, _) => match &place.referers {
                Some(words) => referer::invalid(words, &mut self.maps).map(Meaning::Template),
                None => Ok(Meaning::Text(String::new())),
            },
            ("connections_reading", _) => Ok(Meaning::Text("0".to_owned())),
            ("nginx_version", _) => Ok(Meaning::Text(NGINX_VERSION.to_owned())),
            ("request_filename", _) => self.file(place, verdicts).map(Meaning::Template),
            ("proxy_host", Some((host, _))) => Ok(Meaning::Text(host.clone())),
            ("proxy_port", Some((_, port))) => Ok(Meaning::Text(port.clone())),
            ("remote_user", _) if !place.ended => variable("basic_user"),
            ("https", _) => {
                self.maps.insert("https".to_owned(), lookup::https());
                variable("https")
            }
            (name, _) => of_answer(name, place),
        }
    }

    /// Every value that a variable may have, where it is made by a map or `set` of plain texts.
    pub fn values(
        &mut self,
        name: &str,
        place: &Place,
        verdicts: &mut Verdicts,
    ) -> Result<Vec<String>, String> {
        let mut values = BTreeSet::new();
        self.collect_values(name, place, verdicts, &mut values, 0)?;
        values.remove("");
        Ok(values.into_iter().collect())
    }

    fn collect_values(
        &mut self,
        name: &str,
        place: &Place,
        verdicts: &mut Verdicts,
        values: &mut BTreeSet<String>,
        depth: u8,
    ) -> Result<(), String> {
        let open = || format!("${name} may be any text; name the upstream");
        let texts: Vec<String> = match (self.sources.get(name).copied(), self.set.get(name)) {
            _ if depth > 4 => return Err(open()),
            (Some(source), _) => {
                self.text(&format!("${name}"), place, verdicts)?;
                let rows = crate::tree::flattened(source.children()).into_iter();
                rows.filter_map(|row| row.argument(0).map(str::to_owned)).collect()
            }
            (None, Some(texts)) => texts.clone(),
            (None, None) => return Err(open()),
        };
        for text in texts {
            match variables(&text).as_slice() {
                [] => {
                    values.insert(text);
                }
                [other] if text.trim_start_matches('$').trim_matches(['{', '}']) == *other => {
                    let other = (*other).to_owned();
                    self.collect_values(&other, place, verdicts, values, depth + 1)?;
                }
                _ => return Err(open()),
            }
        }
        Ok(())
    }

    /// Translates the map, when it is asked for for the first time.
    fn looked_up(
        &mut self,
        name: &str,
        source: &'a Directive,
        verdicts: &mut Verdicts,
    ) -> Result<Meaning, String> {
        let own = own_name(name);
        if !is_legal(&own) {
            return Err(format!("${name} is no name of a variable in Forebay"));
        }
        let meaning = || Ok(Meaning::Template(format!("${{{own}}}")));
        if self.maps.contains_key(&own) {
            return meaning();
        }
        if let Some(why) = self.lost.get(name) {
            return Err(why.clone());
        }
        self.lost.insert(name.to_owned(), format!("${name} refers to itself"));
        match lookup::translate(source, self, verdicts) {
            Ok((lookup::Found::Map(map), differences)) => {
                self.lost.remove(name);
                self.maps.insert(own.clone(), map);
                verdicts.add(source, Verdict::with_differences(&differences));
                meaning()
            }
            Ok((lookup::Found::Constant(text), differences)) => {
                self.lost.remove(name);
                verdicts.add(source, Verdict::with_differences(&differences));
                Ok(Meaning::Template(text.0))
            }
            Err(why) => {
                let why = format!("${name}: {why}");
                verdicts.add(source, Verdict::unsupported(why.clone()));
                self.lost.insert(name.to_owned(), why.clone());
                Err(why)
            }
        }
    }
}

pub enum Meaning {
    Text(String),
    Template(String),
}

pub fn bare(variable: &str) -> &str {
    variable.trim_start_matches('$')
}

/// A variable of the configuration's own, as the proxy may call it: its own names mean the request.
pub fn own_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let taken = VARIABLES.iter().any(|(known, _)| *known == lower)
        || CONNECTION_VARIABLES.iter().any(|(known, ..)| *known == lower)
        || ENDINGS.iter().any(|(known, ..)| *known == lower)
        || ["header_", "cookie_", "query_", "answer_"].iter().any(|start| lower.starts_with(start));
    if taken { format!("own_{lower}") } else { lower }
}

pub fn is_legal(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

enum Part<'t> {
    Text(&'t str),
    Variable(&'t str),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        let (name, behind) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("a `${` has no end")?,
            None => {
                let digits = after.starts_with(|c: char| c.is_ascii_digit());
                let belongs = |c: char| {
                    if digits { c.is_ascii_digit() } else { c.is_ascii_alphanumeric() || c == '_' }
                };
                // One digit only: `$10` is `$1` and a nought.
                let end = after.find(|c| !belongs(c)).unwrap_or(after.len());
                after.split_at(if digits { end.min(1) } else { end })
            }
        };
        if name.is_empty() {
            return Err(format!("nginx refuses it: a `$` in {text:?} has no name"));
        }
        parts.push(Part::Variable(name));
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// The names of the variables in a text.
pub fn variables(text: &str) -> Vec<&str> {
    let parts = parts(text).unwrap_or_default();
    parts
        .into_iter()
        .filter_map(|part| match part {
            Part::Variable(name) => Some(name),
            Part::Text(_) => None,
        })
        .collect()
}

/// Names of groups in an expression: `(?<name>...)`.
fn named_groups(text: &str) -> impl Iterator<Item = String> {
    let starts = ["(?<", "(?P<"];
    let found = starts.into_iter().flat_map(move |start| text.split(start).skip(1));
    found
        .filter(|rest| !rest.starts_with(['=', '!']))
        .filter_map(|rest| rest.split_once('>').map(|(name, _)| name.to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;

    #[test]
    fn texts_become_templates() {
        let text =
            "http { map $host $m { a b; } server { set $path x; location ~ ^/(?<who>a) { } } }";
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let mut names = Names::new(&parsed.document.directives);
        let place = Place {
            server_name: Some("a.example".to_owned()),
            root: Some("/srv".to_owned()),
            proxy: Some(("up".to_owned(), "80".to_owned())),
            ..Place::default()
        };
        let cases = [
            ("https://$host$request_uri", Ok("https://${host}${request_uri}")),
            ("${uri}x$is_args$args", Ok("${path}x${question_mark}${query}")),
            ("$http_user_agent", Ok("${header_user_agent}")),
            ("$arg_page", Ok("${arg_page}")),
            ("$server_name:$proxy_port", Ok("a.example:80")),
            ("$request_filename", Ok("/srv${path_text}")),
            ("$m $path $who", Ok("${m} ${own_path} ${who}")),
            ("$10", Ok("${1}0")),
            ("$remote_user", Ok("${basic_user}")),
            ("$status", Err("known only when")),
            ("$nonsense", Err("not known")),
            ("a$", Err("no name")),
        ];
        for (text, expected) in cases {
            let found = names.text(text, &place, &mut Verdicts::default());
            match expected {
                Ok(template) => assert_eq!(found, Ok(Template(template.to_owned())), "{text}"),
                Err(why) => assert!(found.unwrap_err().contains(why), "{text}"),
            }
        }
        assert!(names.maps.contains_key("m"));
        let place = Place { answer: true, ..place };
        for (text, expected) in [
            ("$upstream_cache_status", "${answer_cache}"),
            ("$sent_http_content_type", "${answer_content_type}"),
        ] {
            let found = names.text(text, &place, &mut Verdicts::default());
            assert_eq!(found, Ok(Template(expected.to_owned())));
        }
    }
}
