//! The account of a replay: how many requests were answered alike, and the differences by cause.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::replay::compare::Difference;
use crate::replay::requests::Request;

/// Requests shown for each cause.
const EXAMPLES_MAX: usize = 3;

#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub requests: usize,
    /// Of them, those asked by HTTP/2, where the configuration speaks it.
    pub over_http2: usize,
    pub alike: usize,
    /// Requests with differences that the report states, and no others.
    pub as_stated: usize,
    pub unexplained: usize,
    pub causes: Vec<Cause>,
    /// Directives that might have led out of the replay, which neither side was given.
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    pub cause: String,
    pub stated: Option<&'static str>,
    pub requests: usize,
    pub examples: Vec<Example>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Example {
    pub request: String,
    pub nginx: String,
    pub forebay: String,
}

impl Account {
    pub fn new(requests: usize, over_http2: usize) -> Account {
        Account {
            requests,
            over_http2,
            alike: 0,
            as_stated: 0,
            unexplained: 0,
            causes: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub fn add(&mut self, request: &Request, differences: Vec<Difference>) {
        match () {
            () if differences.is_empty() => self.alike += 1,
            () if differences.iter().all(|found| found.stated.is_some()) => self.as_stated += 1,
            () => self.unexplained += 1,
        }
        let mut by_cause = BTreeMap::new();
        for found in differences {
            by_cause.entry((found.cause.clone(), found.stated)).or_insert(found);
        }
        for ((name, stated), found) in by_cause {
            let known = self.causes.iter_mut().find(|c| c.cause == name && c.stated == stated);
            let cause = match known {
                Some(cause) => cause,
                None => {
                    let (requests, examples) = (0, Vec::new());
                    self.causes.push(Cause { cause: name, stated, requests, examples });
                    self.causes.last_mut().expect("it was just pushed")
                }
            };
            cause.requests += 1;
            if cause.examples.len() < EXAMPLES_MAX {
                let request = request.heading();
                let Difference { nginx, forebay, .. } = found;
                cause.examples.push(Example { request, nginx, forebay });
            }
        }
    }

    /// Causes nobody foretold first, then by how many requests met them.
    pub fn sorted(mut self) -> Account {
        self.causes.sort_by_key(|cause| {
            (cause.stated.is_some(), std::cmp::Reverse(cause.requests), cause.cause.clone())
        });
        self
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for cause in &self.causes {
            let stated =
                cause.stated.map_or("UNEXPLAINED".to_owned(), |why| format!("stated: {why}"));
            let _ = writeln!(text, "{}: {} requests ({stated})", cause.cause, cause.requests);
            for Example { request, nginx, forebay } in &cause.examples {
                let _ = writeln!(
                    text,
                    "    {request}\n        nginx    {nginx}\n        Forebay  {forebay}"
                );
            }
        }
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            let _ = writeln!(text, "left out on both sides, because it may lead out: {names}");
        }
        let Account { requests, alike, as_stated, unexplained, .. } = self;
        let by = match self.over_http2 {
            0 => String::new(),
            count => format!(" ({count} over HTTP/2)"),
        };
        let _ = writeln!(
            text,
            "{requests} requests{by}: {alike} alike, {as_stated} different as the report states, \
             {unexplained} with unexplained differences"
        );
        text
    }
}
