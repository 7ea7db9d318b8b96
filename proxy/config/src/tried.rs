//! Which servers were asked for a request, and what they said.

use std::sync::Arc;

/// The servers asked so far, in order. The first, which is nearly always the only one, takes no memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    first: Option<Attempt>,
    more: Vec<Attempt>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    server: Arc<str>,
    status: Option<u16>,
}

impl Tried {
    pub const fn nothing() -> Tried {
        Tried { first: None, more: Vec::new() }
    }

    /// One more server is asked.
    pub fn ask(&mut self, server: Arc<str>) {
        let attempt = Attempt { server, status: None };
        match &self.first {
            None => self.first = Some(attempt),
            Some(_) => self.more.push(attempt),
        }
    }

    /// The server asked last has answered so, or its failure counts as this; the first word stands.
    pub fn said(&mut self, status: u16) {
        if let Some(last) = self.more.last_mut().or(self.first.as_mut()) {
            last.status.get_or_insert(status);
        }
    }

    /// The servers, with commas between.
    pub fn servers(&self) -> String {
        self.joined(|attempt| attempt.server.to_string())
    }

    /// What each said, with commas between; `-` for one that has said nothing.
    pub fn statuses(&self) -> String {
        self.joined(|attempt| attempt.status.map_or("-".to_owned(), |status| status.to_string()))
    }

    fn joined(&self, of: impl Fn(&Attempt) -> String) -> String {
        let all: Vec<String> = self.first.iter().chain(&self.more).map(of).collect();
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_one_word() {
        let mut tried = Tried::nothing();
        tried.said(500);
        assert_eq!((tried.servers(), tried.statuses()), (String::new(), String::new()));
        tried.ask("a:1".into());
        tried.said(502);
        tried.said(200);
        tried.ask("b:1".into());
        assert_eq!((tried.servers().as_str(), tried.statuses().as_str()), ("a:1, b:1", "502, -"));
        tried.said(200);
        assert_eq!(tried.statuses(), "502, 200");
    }
}
