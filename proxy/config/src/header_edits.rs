//! Changes to headers, made ready, and rendered for one request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::captures::Captures;
use crate::facts::Facts;
use crate::kept_body::Told;
use crate::late::{Answer, Late};
use crate::pattern::Template;
use crate::route_action::HeaderEdits;
use crate::template::{Compiled, Scope, TemplateError};
use crate::tried::Tried;

/// Fields that frame a message or belong to one connection: an edit of them would break it.
pub const NOT_EDITABLE: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The edits of a route.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    remove_all: bool,
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Compiled)>,
    add: Vec<(HeaderName, Compiled)>,
    /// Names as they were written: HTTP/1 sends them so.
    append: Vec<(String, Compiled, Addition)>,
    replace: Vec<(HeaderName, Find<Compiled>, Compiled)>,
}

/// What is looked for in a value.
#[derive(Clone, Debug)]
enum Find<T> {
    Regex(regex::Regex),
    Start(T),
}

/// How a value is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    always: bool,
    pub replace: bool,
}

/// The edits for one request, in the order they are made.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// All headers go but `Host` and those that frame the message.
    pub remove_all: bool,
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    append: Vec<(String, Late, Addition)>,
    replace: Vec<(HeaderName, Find<String>, Late)>,
    /// Servers that were asked for what is edited.
    pub tried: Tried,
    /// The request's body, where it is kept.
    pub body: Option<Arc<Told>>,
}

const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// Where the URL of a `Refresh` begins: behind `url=`; nothing of it is looked at without.
fn url_of_refresh(value: &str) -> usize {
    value.to_ascii_lowercase().find("url=").map_or(value.len(), |at| at + 4)
}

/// Statuses whose responses get headers that are not for all.
const FAVOURED: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

impl Edits {
    pub fn new(edits: &HeaderEdits, scope: &Scope<'_>) -> Result<Edits, TemplateError> {
        let names = edits.remove.iter();
        let is_name = |name: &str| name.parse::<HeaderName>().is_ok();
        let append = edits.append.iter().filter(|one| is_name(&one.name));
        Ok(Edits {
            remove_all: edits.remove_all,
            remove: names.filter_map(|name| name.parse().ok()).collect(),
            set: fields(&edits.set, scope)?,
            add: fields(&edits.add, scope)?,
            append: append
                .map(|one| {
                    let addition = Addition { always: one.always, replace: one.replace };
                    Ok((one.name.clone(), Compiled::new(&one.value.0, scope)?, addition))
                })
                .collect::<Result<_, TemplateError>>()?,
            replace: edits
                .replace
                .iter()
                .filter_map(|one| Some((one.name.parse().ok()?, one)))
                .map(|(name, one)| {
                    let mut own = Scope { captures: Vec::new(), numbers: 0, ..scope.clone() };
                    let find = match (&one.find, &one.starts_with) {
                        (Some(find), _) => {
                            let find = find.compile().expect("checked when it was read");
                            own.add(&find);
                            Find::Regex(find)
                        }
                        (None, start) => {
                            own = scope.clone();
                            let start = start.as_ref().map_or("", |start| start.0.as_str());
                            let early = Scope { answer: false, ..scope.clone() };
                            Find::Start(Compiled::new(start, &early)?)
                        }
                    };
                    Ok((name, find, Compiled::new(&one.with.0, &own)?))
                })
                .collect::<Result<_, TemplateError>>()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        !self.remove_all
            && self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.append.is_empty()
            && self.replace.is_empty()
    }

    /// A header whose value is empty is not sent. When it was to be set, the one that came is taken
    /// out: an upstream must not take the client's own word in its place.
    pub fn render(&self, facts: &Facts<'_>) -> Rendered {
        let set = rendered(&self.set, facts);
        let empty = self.set.iter().filter(|(name, _)| !set.iter().any(|(is, _)| is == name));
        let empty = empty.map(|(name, _)| name.clone());
        Rendered {
            remove_all: self.remove_all,
            remove: self.remove.iter().cloned().chain(empty).collect(),
            set,
            add: rendered(&self.add, facts),
            append: self
                .append
                .iter()
                .map(|(name, text, how)| (name.clone(), text.settle(facts, false), *how))
                .collect(),
            replace: self
                .replace
                .iter()
                .map(|(name, find, with)| match find {
                    Find::Regex(find) => {
                        (name.clone(), Find::Regex(find.clone()), with.settle(facts, true))
                    }
                    Find::Start(start) => {
                        (name.clone(), Find::Start(start.render(facts)), with.settle(facts, false))
                    }
                })
                .collect(),
            tried: facts.tried.clone(),
            body: facts.body.cloned(),
        }
    }
}

/// Names validation refuses are left out.
pub fn fields<'a>(
    fields: impl IntoIterator<Item = (&'a String, &'a Template)>,
    scope: &Scope<'_>,
) -> Result<Vec<(HeaderName, Compiled)>, TemplateError> {
    let fields = fields.into_iter();
    fields
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
        .map(|(name, value)| Ok((name, Compiled::new(&value.0, scope)?)))
        .collect()
}

pub fn rendered(
    fields: &[(HeaderName, Compiled)],
    facts: &Facts<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let fields = fields.iter();
    fields.filter_map(|(name, text)| Some((name.clone(), value(text, facts)?))).collect()
}

fn value(template: &Compiled, facts: &Facts<'_>) -> Option<HeaderValue> {
    let text = template.render(facts);
    // Nothing a request brings along can hold a line break; see `template`.
    HeaderValue::from_bytes(text.as_bytes()).ok().filter(|value| !value.is_empty())
}

impl Rendered {
    pub fn is_empty(&self) -> bool {
        !self.remove_all
            && self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.append.is_empty()
            && self.replace.is_empty()
    }

    /// Whether a message may have other values of this field than it came with.
    pub fn changes(&self, name: &HeaderName) -> bool {
        self.remove_all
            || self.remove.contains(name)
            || self.set.iter().chain(&self.add).any(|(edited, _)| edited == name)
            || self.replace.iter().any(|(edited, ..)| edited == name)
            || self.append.iter().any(|(edited, ..)| name.as_str().eq_ignore_ascii_case(edited))
    }

    fn answer<'a>(&'a self, status: u16, headers: &'a HeaderMap) -> Answer<'a> {
        Answer { status, headers, tried: &self.tried, body: self.body.as_deref() }
    }

    /// What is appended to a message: in an answer of this status, with these headers.
    pub fn appended(
        &self,
        status: u16,
        headers: &HeaderMap,
    ) -> Vec<(String, HeaderValue, Addition)> {
        let favoured = FAVOURED.contains(&status);
        let answer = self.answer(status, headers);
        let fitting = self.append.iter().filter(|(_, _, how)| how.always || favoured);
        fitting
            .filter_map(|(name, text, how)| {
                Some((name.clone(), text.value(&answer, &Captures::default())?, *how))
            })
            .collect()
    }

    /// Headers whose values are others after replacement: all values of each.
    pub fn replaced(
        &self,
        status: u16,
        headers: &HeaderMap,
    ) -> Vec<(HeaderName, Vec<HeaderValue>)> {
        let mut names: Vec<&HeaderName> = Vec::new();
        for (name, _, _) in &self.replace {
            if headers.contains_key(name) && !names.contains(&name) {
                names.push(name);
            }
        }
        let values = |name: &HeaderName| {
            let all = headers.get_all(name).iter();
            all.map(|value| self.replaced_in(name, value, status, headers)).collect()
        };
        names.into_iter().map(|name| (name.clone(), values(name))).collect()
    }

    fn replaced_in(
        &self,
        name: &HeaderName,
        value: &HeaderValue,
        status: u16,
        headers: &HeaderMap,
    ) -> HeaderValue {
        let Ok(whole) = value.to_str() else { return value.clone() };
        let answer = self.answer(status, headers);
        let at = if *name == REFRESH { url_of_refresh(whole) } else { 0 };
        let (before, text) = whole.split_at(at);
        for (_, find, with) in self.replace.iter().filter(|(is, _, _)| is == name) {
            let mut captures = Captures::default();
            let range = match find {
                Find::Regex(find) => {
                    let Some(found) = find.captures(text) else { continue };
                    captures.renew(find, &found, str::to_owned);
                    found.get_match().range()
                }
                Find::Start(start) if text.starts_with(start.as_str()) => 0..start.len(),
                Find::Start(_) => continue,
            };
            let with = with.text(&answer, &captures);
            let new = format!("{before}{}{with}{}", &text[..range.start], &text[range.end..]);
            return HeaderValue::from_str(&new).unwrap_or_else(|_| value.clone());
        }
        value.clone()
    }
}
