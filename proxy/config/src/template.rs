//! Text with variables, read once and rendered for each request: `https://$host$request_uri`.
//!
//! A variable is `$name` or `${name}`; `$$` is a dollar sign. What a request brings along is always
//! rendered in the form it was forwarded in: a path keeps its escapes, so that a value can neither
//! end a header nor begin a tag of HTML.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::captures::Captures;
use crate::connection_variable::{self, CONNECTION_VARIABLES, ConnectionVariable};
use crate::facts::Facts;
use crate::late::{AnswerVariable, Late, Piece};
use crate::suggest;

/// A template made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    Host,
    RequestUri,
    Path,
    Query,
    Method,
    Scheme,
    Client,
    RequestId,
    Listener,
    ClientSubject,
    ClientFingerprint,
    User,
    BasicUser,
    Claim(String),
    Header(String),
    Cookie(String),
    Parameter(String),
    Map(String),
    Capture(String),
    Set(String),
    QuestionMark,
    Peer,
    PeerPort,
    Port,
    LocalAddress,
    Protocol,
    Origin,
    ForwardedFor,
    /// HTTP date so many seconds from now.
    Date(i64),
    Answer(AnswerVariable),
    /// The path without escapes.
    PathText,
    TriedServers,
    TriedStatuses,
    Connection(ConnectionVariable),
}

/// The variables every request has, and what they are.
pub const VARIABLES: [(&str, &str); 36] = [
    ("host", "host asked for, in lower case, without port"),
    (
        "request_uri",
        "path and query as the client asked for them, before any rewrite, in the form routes match",
    ),
    ("path", "path, without the query, escaped as it is sent"),
    ("path_text", "the same with its escapes undone, but for those of control characters"),
    ("query", "query, without the question mark"),
    ("method", "method"),
    ("scheme", "`http` or `https`, as the client spoke it"),
    ("client", "address of the client"),
    ("request_id", "id of the request"),
    ("listener", "name of the listener"),
    ("client_subject", "subject of the client's verified certificate; nothing without one"),
    ("client_fingerprint", "SHA-256 of the client's verified certificate, in hex"),
    ("user", "user whose password was right (`auth.basic`)"),
    (
        "basic_user",
        "user that `Authorization: Basic` names, whether or not anybody has checked it; control characters escaped",
    ),
    ("claim_NAME", "claim of the verified token (`auth.jwt`)"),
    ("question_mark", "`?` when there is a query"),
    (
        "peer",
        "address that connects, or that its PROXY protocol header names, whatever trusted proxies say",
    ),
    ("peer_port", "port that connects"),
    ("port", "port the request came in on"),
    ("local_address", "address the request came in on"),
    ("protocol", "`HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`, as the client speaks it"),
    ("origin", "scheme, host and port as the client asked for them: `https://example.com:8443`"),
    ("forwarded_for", "`X-Forwarded-For` of the request, and the client behind it"),
    ("tried_servers", "servers asked so far, with commas between; nothing before one was"),
    ("tried_statuses", "what each of them answered; 502 or 504 where it did not"),
    ("date_in_SECONDS", "date so many seconds from now, as headers have it: `$date_in_3600`"),
    ("date_before_SECONDS", "date so many seconds before now"),
    ("answer_status", "status of the answer; in headers of answers only, as all of the answer"),
    (
        "answer_cache",
        "`HIT`, `MISS`, `STALE`, `EXPIRED`, `REVALIDATED` or `BYPASS`, where a cache was asked",
    ),
    ("answer_cookie_NAME", "value that the answer gives a cookie"),
    ("answer_NAME", "header of the answer, as it came"),
    (
        "request_body",
        "body of the request, where `kept_body` keeps it in memory; in headers that answers get by `append` only",
    ),
    ("request_body_file", "the file it lies in, where it lies in one"),
    ("header_NAME", "header of the request, `_` for `-`: `$header_user_agent`"),
    ("cookie_NAME", "cookie of the request"),
    ("query_NAME", "query parameter, as sent"),
];

/// Whether a variable that every request has, or every answer, is called so.
pub fn is_own(name: &str) -> bool {
    // Capitals stand for a part of a name.
    let is_whole = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    is_whole && VARIABLES.iter().any(|(own, _)| *own == name)
}

/// Which names besides [`VARIABLES`] a template may use.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    /// Names of maps.
    pub maps: Vec<&'a str>,
    /// Named captures of the expressions around it.
    pub captures: Vec<String>,
    /// How many numbered captures there are, `$0` not counted.
    pub numbers: usize,
    /// Variables that steps set.
    pub set: Option<&'a HashSet<&'a str>>,
    /// Whether variables of the answer are known.
    pub answer: bool,
}

impl Scope<'_> {
    /// Whether the document itself gives something this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.maps.contains(&name)
            || self.captures.iter().any(|capture| capture == name)
            || self.is_set(name)
    }

    fn is_set(&self, name: &str) -> bool {
        self.set.is_some_and(|set| set.contains(name))
    }

    /// Makes the captures of an expression known; numbers are those of the largest one.
    pub fn add(&mut self, regex: &regex::Regex) {
        self.numbers = self.numbers.max(regex.captures_len() - 1);
        self.captures.extend(regex.capture_names().flatten().map(str::to_owned));
    }
}

/// What is wrong with a template, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    pub hint: String,
}

impl Compiled {
    pub fn new(text: &str, scope: &Scope<'_>) -> Result<Compiled, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let (name, after) = split_name(after);
            if name.is_empty() {
                return Err(TemplateError {
                    message: "`$` is not followed by the name of a variable".to_owned(),
                    hint: "write `$$` for a dollar sign".to_owned(),
                });
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(variable(name, scope)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Compiled { parts })
    }

    pub fn render(&self, facts: &Facts<'_>) -> String {
        self.render_with(facts, facts.captures)
    }

    /// As far as it is known before the answer; `captured` when its captures are found in the answer.
    pub(crate) fn settle(&self, facts: &Facts<'_>, captured: bool) -> Late {
        let mut pieces = Vec::new();
        let mut text = String::new();
        for part in &self.parts {
            let piece = match part {
                Part::Text(plain) => {
                    text.push_str(plain);
                    continue;
                }
                Part::Variable(Variable::Answer(variable)) => Piece::Answer(variable.clone()),
                Part::Variable(Variable::Capture(name)) if captured => Piece::Capture(name.clone()),
                Part::Variable(variable) => {
                    write(variable, facts, facts.captures, &mut text);
                    continue;
                }
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Late(pieces)
    }

    /// With other captures than those of the route.
    pub(crate) fn render_with(&self, facts: &Facts<'_>, captures: &Captures) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(variable) => write(variable, facts, captures, &mut text),
            }
        }
        text
    }

    /// The header that this is, if it is nothing else.
    pub(crate) fn header(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Variable(Variable::Header(name))] => Some(name),
            _ => None,
        }
    }

    /// The text outside variables.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Variable(_) => None,
        })
    }

    /// Names of the maps it uses.
    pub fn maps(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(Variable::Map(name)) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// The name after a `$`, and what follows it.
pub(crate) fn split_name(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').unwrap_or(("", text));
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let belongs = |c: char| {
        if is_number { c.is_ascii_digit() } else { c.is_ascii_alphanumeric() || c == '_' }
    };
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn variable(name: &str, scope: &Scope<'_>) -> Result<Variable, TemplateError> {
    Ok(match name {
        "host" => Variable::Host,
        "request_uri" => Variable::RequestUri,
        "path" => Variable::Path,
        "query" => Variable::Query,
        "method" => Variable::Method,
        "scheme" => Variable::Scheme,
        "client" => Variable::Client,
        "request_id" => Variable::RequestId,
        "listener" => Variable::Listener,
        "client_subject" => Variable::ClientSubject,
        "client_fingerprint" => Variable::ClientFingerprint,
        "user" => Variable::User,
        "basic_user" => Variable::BasicUser,
        "question_mark" => Variable::QuestionMark,
        "peer" => Variable::Peer,
        "peer_port" => Variable::PeerPort,
        "port" => Variable::Port,
        "local_address" => Variable::LocalAddress,
        "protocol" => Variable::Protocol,
        "origin" => Variable::Origin,
        "forwarded_for" => Variable::ForwardedFor,
        "path_text" => Variable::PathText,
        "tried_servers" if scope.answer => Variable::Answer(AnswerVariable::TriedServers),
        "tried_statuses" if scope.answer => Variable::Answer(AnswerVariable::TriedStatuses),
        "tried_servers" => Variable::TriedServers,
        "tried_statuses" => Variable::TriedStatuses,
        "answer_status" if scope.answer => Variable::Answer(AnswerVariable::Status),
        "answer_cache" if scope.answer => Variable::Answer(AnswerVariable::CacheStatus),
        "request_body" if scope.answer => Variable::Answer(AnswerVariable::RequestBody),
        "request_body_file" if scope.answer => Variable::Answer(AnswerVariable::RequestBodyFile),
        name if scope.maps.contains(&name) => Variable::Map(name.to_owned()),
        name if scope.captures.iter().any(|capture| capture == name) => {
            Variable::Capture(name.to_owned())
        }
        name if name.parse::<usize>().is_ok_and(|number| number <= scope.numbers) => {
            Variable::Capture(name.to_owned())
        }
        name if scope.is_set(name) => Variable::Set(name.to_owned()),
        name if connection_variable::named(name).is_some() => {
            connection_variable::named(name).map_or(Variable::PathText, Variable::Connection)
        }
        name if scope.answer && name.len() > 14 && name.starts_with("answer_cookie_") => {
            Variable::Answer(AnswerVariable::Cookie(name[14..].to_owned()))
        }
        name if scope.answer && name.len() > 7 && name.starts_with("answer_") => {
            let name = name[7..].to_ascii_lowercase().replace('_', "-");
            Variable::Answer(AnswerVariable::Header(name))
        }
        name => prefixed(name).ok_or_else(|| unknown(name, scope))?,
    })
}

fn prefixed(name: &str) -> Option<Variable> {
    let after = |start: &str| name.strip_prefix(start).filter(|rest| !rest.is_empty());
    let seconds = |start: &str| after(start)?.parse::<i32>().ok().map(i64::from);
    let date = seconds("date_in_").or_else(|| seconds("date_before_").map(|past| -past));
    if let Some(seconds) = date {
        return Some(Variable::Date(seconds));
    }
    after("header_")
        .map(|name| Variable::Header(name.to_ascii_lowercase().replace('_', "-")))
        .or_else(|| after("claim_").map(|name| Variable::Claim(name.to_owned())))
        .or_else(|| after("cookie_").map(|name| Variable::Cookie(name.to_owned())))
        .or_else(|| after("query_").map(|name| Variable::Parameter(name.to_owned())))
}

fn unknown(name: &str, scope: &Scope<'_>) -> TemplateError {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let hint = match scope.numbers {
            0 => "no expression here captures anything".to_owned(),
            numbers => format!("there are `$0` to `${numbers}`"),
        };
        return TemplateError { message: format!("there is no capture `${name}`"), hint };
    }
    let message = format!("there is no variable `${name}`");
    if is_own(name) {
        let message = format!("there is no `${name}` here");
        let hint = "it is of the answer: `response_headers` know it, under `append`".to_owned();
        return TemplateError { message, hint };
    }
    let captures = scope.captures.iter().map(String::as_str);
    let of_connection = CONNECTION_VARIABLES.iter().map(|(name, ..)| *name);
    let fixed = VARIABLES.iter().map(|(name, _)| *name).chain(of_connection);
    let names: Vec<&str> = fixed.chain(scope.maps.iter().copied()).chain(captures).collect();
    let hint = match suggest::closest(name, names.iter().copied()) {
        Some(closest) => format!("did you mean `${closest}`?"),
        None => format!("variables are {}", suggest::list(&names)),
    };
    TemplateError { message, hint }
}

fn write(variable: &Variable, facts: &Facts<'_>, captures: &Captures, text: &mut String) {
    match variable {
        Variable::Host => text.push_str(&crate::host::normalize_host(facts.target.host)),
        Variable::RequestUri => text.push_str(facts.request_uri),
        Variable::Path => text.push_str(facts.target.path),
        Variable::Query => text.push_str(facts.target.query),
        Variable::Method => text.push_str(facts.target.method),
        Variable::Scheme => text.push_str(facts.scheme),
        Variable::Client => shown(facts.client, text),
        Variable::Peer => shown(facts.connection.peer.map(|peer| peer.ip().to_canonical()), text),
        Variable::PeerPort => shown(facts.connection.peer.map(|peer| peer.port()), text),
        Variable::Port => shown(facts.connection.local.map(|local| local.port()), text),
        Variable::LocalAddress => {
            shown(facts.connection.local.map(|local| local.ip().to_canonical()), text);
        }
        Variable::Protocol => text.push_str(facts.connection.protocol),
        Variable::Origin => origin(facts, text),
        Variable::ForwardedFor => {
            let before = facts.header("x-forwarded-for");
            text.push_str(&before);
            if !before.is_empty() {
                text.push_str(", ");
            }
            shown(facts.client, text);
        }
        Variable::QuestionMark => {
            if !facts.target.query.is_empty() {
                text.push('?');
            }
        }
        // Known later; see `settle`.
        Variable::Answer(_) => {}
        Variable::TriedServers => text.push_str(&facts.tried.servers()),
        Variable::TriedStatuses => text.push_str(&facts.tried.statuses()),
        Variable::PathText => text.push_str(&path_text(facts.target.path)),
        Variable::Connection(variable) => variable.write(facts, text),
        Variable::Set(name) => text.push_str(facts.set.get(name)),
        Variable::Date(seconds) => shown(facts.connection.now.map(|now| date(now, *seconds)), text),
        Variable::RequestId => text.push_str(facts.request_id),
        Variable::Listener => text.push_str(facts.target.listener),
        Variable::ClientSubject => {
            let certificate = facts.proved.certificate.as_ref();
            text.push_str(certificate.map_or("", |certificate| &certificate.subject));
        }
        Variable::ClientFingerprint => {
            let certificate = facts.proved.certificate.as_ref();
            text.push_str(certificate.map_or("", |certificate| &certificate.fingerprint));
        }
        Variable::User => text.push_str(facts.proved.user.as_deref().unwrap_or_default()),
        Variable::BasicUser => {
            without_controls(&facts.basic_user().unwrap_or_default(), text);
        }
        Variable::Claim(name) => {
            text.push_str(facts.proved.claims.get(name).map_or("", String::as_str));
        }
        Variable::Header(name) => text.push_str(&facts.header(name)),
        Variable::Cookie(name) => text.push_str(facts.cookie(name).unwrap_or_default()),
        Variable::Parameter(name) => text.push_str(facts.parameter(name).unwrap_or_default()),
        Variable::Map(name) => text.push_str(&facts.maps.value(name, facts)),
        Variable::Capture(name) => text.push_str(captures.get(name)),
    }
}

/// Escapes undone but for those of control characters, which would end a line.
fn path_text(path: &str) -> String {
    let decoded = crate::matching::normalize_path(path);
    let mut text = String::new();
    without_controls(&String::from_utf8_lossy(&decoded).replace("%25", "%"), &mut text);
    text
}

fn without_controls(value: &str, text: &mut String) {
    for c in value.chars() {
        if c.is_control() {
            let _ = write!(text, "%{:02X}", u32::from(c));
        } else {
            text.push(c);
        }
    }
}

fn shown(value: Option<impl std::fmt::Display>, text: &mut String) {
    if let Some(value) = value {
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
    }
}

fn date(now: SystemTime, seconds: i64) -> httpdate::HttpDate {
    let span = Duration::from_secs(seconds.unsigned_abs());
    // Such dates begin in 1970.
    let before = || now.checked_sub(span).unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH);
    httpdate::HttpDate::from(if seconds < 0 { before() } else { now + span })
}

/// A default port is left out.
fn origin(facts: &Facts<'_>, text: &mut String) {
    let host = crate::host::normalize_host(facts.target.host);
    let _ = write!(text, "{}://{host}", facts.scheme);
    let usual = if facts.scheme == "https" { 443 } else { 80 };
    if let Some(local) = facts.connection.local.filter(|local| local.port() != usual) {
        let _ = write!(text, ":{}", local.port());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Compiled, TemplateError> {
        let mut scope = Scope { maps: vec!["tier"], ..Scope::default() };
        scope.add(&regex::Regex::new("(?<title>a)(b)").expect("a regex"));
        Compiled::new(text, &scope)
    }

    #[test]
    fn names_end_where_they_must() {
        for text in ["$host/x", "${host}x", "$$5", "$1st", "$title", "$header_x_y", "$tier", "a"] {
            assert!(compiled(text).is_ok(), "{text}");
        }
        for (text, message, hint) in [
            ("$hots", "there is no variable `$hots`", "did you mean `$host`?"),
            ("$", "`$` is not followed by the name of a variable", "write `$$` for a dollar sign"),
            ("${host", "`$` is not followed by the name of a variable", "write `$$`"),
            ("$3", "there is no capture `$3`", "there are `$0` to `$2`"),
        ] {
            let error = compiled(text).expect_err(text);
            assert_eq!(error.message, message);
            assert!(error.hint.starts_with(hint), "{}", error.hint);
        }
    }
    #[test]
    fn the_user_of_basic_authentication_cannot_end_a_header() {
        use base64::Engine as _;
        let maps = crate::facts::Maps::default();
        let (captures, scope) = (Captures::default(), Scope::default());
        let user = Compiled::new("$basic_user", &scope).expect("it is one");
        let encode = |pair: &str| base64::prelude::BASE64_STANDARD.encode(pair);
        for (sent, expected) in [
            (format!("Basic {}", encode("bob:pw:x")), "bob"),
            (format!("basic  {}", encode("b\r\nX: y:pw")), "b%0D%0AX"),
            (format!("Basic {}", encode("no colon")), ""),
            (format!("Bearer {}", encode("bob:pw")), ""),
            ("Basic ???".to_owned(), ""),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::AUTHORIZATION, sent.parse().expect("a value"));
            let target = crate::matching::Target {
                listener: "l",
                host: "h",
                path: "/",
                query: "",
                method: "GET",
                headers: Some(&headers),
            };
            assert_eq!(user.render(&Facts::of(target, &captures, &maps)), expected, "{sent}");
        }
    }
}
