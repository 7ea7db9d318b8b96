//! Changes to headers, made ready, and rendered for one request.

use http::{HeaderName, HeaderValue};

use crate::facts::Facts;
use crate::pattern::Template;
use crate::route_action::HeaderEdits;
use crate::template::{Compiled, Scope, TemplateError};

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
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Compiled)>,
    add: Vec<(HeaderName, Compiled)>,
    append: Vec<(HeaderName, Compiled, Addition)>,
}

/// How a value is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    always: bool,
    pub replace: bool,
}

/// The edits for one request, in the order they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub append: Vec<(HeaderName, HeaderValue, Addition)>,
}

/// Statuses whose responses get headers that are not for all.
const FAVOURED: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

impl Edits {
    pub fn new(edits: &HeaderEdits, scope: &Scope<'_>) -> Result<Edits, TemplateError> {
        let names = edits.remove.iter();
        let append = edits.append.iter().filter_map(|one| Some((one.name.parse().ok()?, one)));
        Ok(Edits {
            remove: names.filter_map(|name| name.parse().ok()).collect(),
            set: fields(&edits.set, scope)?,
            add: fields(&edits.add, scope)?,
            append: append
                .map(|(name, one)| {
                    let addition = Addition { always: one.always, replace: one.replace };
                    Ok((name, Compiled::new(&one.value.0, scope)?, addition))
                })
                .collect::<Result<_, TemplateError>>()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.append.is_empty()
    }

    /// A header whose value is empty is not sent. When it was to be set, the one that came is taken
    /// out: an upstream must not take the client's own word in its place.
    pub fn render(&self, facts: &Facts<'_>) -> Rendered {
        let set = rendered(&self.set, facts);
        let empty = self.set.iter().filter(|(name, _)| !set.iter().any(|(is, _)| is == name));
        let empty = empty.map(|(name, _)| name.clone());
        Rendered {
            remove: self.remove.iter().cloned().chain(empty).collect(),
            set,
            add: rendered(&self.add, facts),
            append: self
                .append
                .iter()
                .filter_map(|(name, text, how)| Some((name.clone(), value(text, facts)?, *how)))
                .collect(),
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
        self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.append.is_empty()
    }

    /// What is appended to a response of this status.
    pub fn appended(
        &self,
        status: u16,
    ) -> impl Iterator<Item = (&HeaderName, &HeaderValue, Addition)> {
        let favoured = FAVOURED.contains(&status);
        let fitting = self.append.iter().filter(move |(_, _, how)| how.always || favoured);
        fitting.map(|(name, value, how)| (name, value, *how))
    }
}
