//! What expressions found.

/// What the expressions of a route found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    numbered: Vec<String>,
    named: Vec<(String, String)>,
}

impl Captures {
    pub fn get(&self, name: &str) -> &str {
        let numbered = || self.numbered.get(name.parse::<usize>().ok()?).map(String::as_str);
        let named =
            || self.named.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str());
        numbered().or_else(named).unwrap_or_default()
    }

    /// Adds those of one expression: its names; its numbers only when it is the first.
    pub(crate) fn add<'n>(&mut self, found: impl Iterator<Item = (Option<&'n str>, String)>) {
        let first = self.numbered.is_empty();
        for (name, value) in found {
            if let Some(name) = name {
                self.named.push((name.to_owned(), value.clone()));
            }
            if first {
                self.numbered.push(value);
            }
        }
    }

    /// What the expressions of the route a request has come to found: numbers only when one did.
    pub fn arrive(&mut self, found: Captures) {
        if !found.numbered.is_empty() {
            self.numbered = found.numbered;
        }
        for (name, value) in found.named {
            self.named.retain(|(known, _)| *known != name);
            self.named.push((name, value));
        }
    }

    /// Takes the place of what was found before; names that are found no more stay.
    pub(crate) fn renew(
        &mut self,
        regex: &regex::Regex,
        found: &regex::Captures<'_>,
        encode: impl Fn(&str) -> String,
    ) {
        let value = |at| encode(found.get(at).map_or("", |part| part.as_str()));
        self.numbered = (0..found.len()).map(value).collect();
        for (at, name) in regex.capture_names().enumerate() {
            let Some(name) = name else { continue };
            self.named.retain(|(known, _)| known != name);
            self.named.push((name.to_owned(), value(at)));
        }
    }

    pub(crate) fn add_text(&mut self, regex: &regex::Regex, text: &str) {
        if let Some(found) = regex.captures(text) {
            let value = |at| found.get(at).map_or("", |part| part.as_str()).to_owned();
            self.add(regex.capture_names().enumerate().map(|(at, name)| (name, value(at))));
        }
    }
}
