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
}

/// The edits for one request, in the order they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    pub fn new(edits: &HeaderEdits, scope: &Scope<'_>) -> Result<Edits, TemplateError> {
        let names = edits.remove.iter();
        Ok(Edits {
            remove: names.filter_map(|name| name.parse().ok()).collect(),
            set: fields(&edits.set, scope)?,
            add: fields(&edits.add, scope)?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
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
    let value = |template: &Compiled| {
        let text = template.render(facts);
        // Nothing a request brings along can hold a line break; see `template`.
        HeaderValue::from_bytes(text.as_bytes()).ok().filter(|value| !value.is_empty())
    };
    fields.iter().filter_map(|(name, template)| Some((name.clone(), value(template)?))).collect()
}

impl Rendered {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}
