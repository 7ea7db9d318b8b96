//! Conditions on headers and query parameters.

use std::borrow::Cow;

use http::HeaderMap;

use crate::captures::Captures;
use crate::pattern::FieldMatch;
use crate::text_match::ValueTest;

/// One condition, made ready.
#[derive(Clone, Debug)]
pub(crate) struct FieldTest {
    name: String,
    value: Option<ValueTest>,
    absent: bool,
}

impl FieldTest {
    pub(crate) fn new(field: &FieldMatch) -> FieldTest {
        FieldTest {
            name: field.name.clone(),
            value: field.value.as_ref().map(ValueTest::new),
            absent: field.absent,
        }
    }

    pub(crate) fn takes_headers(&self, headers: Option<&HeaderMap>) -> bool {
        self.takes(header_values(headers, &self.name))
    }

    /// Names and values are compared as a form decodes them, so that no spelling slips past.
    pub(crate) fn takes_query(&self, query: &str) -> bool {
        self.takes(query_values(query, &self.name))
    }

    fn takes<'a>(&self, mut values: impl Iterator<Item = Cow<'a, str>>) -> bool {
        match &self.value {
            _ if self.absent => values.next().is_none(),
            None => values.next().is_some(),
            Some(test) => values.any(|value| test.takes(&value)),
        }
    }

    pub(crate) fn capture_headers(&self, headers: Option<&HeaderMap>, captures: &mut Captures) {
        self.capture(header_values(headers, &self.name), captures);
    }

    fn capture<'a>(&self, mut values: impl Iterator<Item = Cow<'a, str>>, captures: &mut Captures) {
        if let Some(test) = &self.value
            && let Some(value) = values.find(|value| test.takes(value))
        {
            test.capture(&value, captures);
        }
    }
}

fn header_values<'a>(
    headers: Option<&'a HeaderMap>,
    name: &str,
) -> impl Iterator<Item = Cow<'a, str>> {
    let all = headers.into_iter().flat_map(move |headers| headers.get_all(name));
    all.map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn query_values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.filter(move |(is, _)| is.as_ref() == name).map(|(_, value)| value)
}
