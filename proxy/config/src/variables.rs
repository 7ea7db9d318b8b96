//! What steps have set.

/// Variables that steps have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    pub const fn none() -> Variables {
        Variables(Vec::new())
    }

    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(is, _)| is == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A variable that has been set.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(is, _)| is == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}
