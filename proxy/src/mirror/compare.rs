//! Answers to copies held against those the clients got (`mirror.compare`): status and body. What differs is
//! counted, and the latest differences are kept for whoever wants to know before more requests are sent there.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntCounter;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::metrics::Metrics;

/// Differences kept per route.
const KEPT_MAX: usize = 64;

/// One answer, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub status: u16,
    pub bytes: u64,
    /// SHA-256 of the body, hex.
    pub digest: String,
}

/// An answer that passes by.
#[derive(Clone, Default)]
pub struct Passing {
    bytes: u64,
    digest: Sha256,
}

impl Passing {
    pub fn part(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        self.digest.update(part);
    }

    pub fn end(self, status: u16) -> Seen {
        let digest = self.digest.finalize();
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Seen { status, bytes: self.bytes, digest }
    }
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    pub time: String,
    pub request_id: String,
    pub method: String,
    /// Without the query, which may hold what is nobody's business.
    pub path: String,
}

/// Two answers that are not the same.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub asked: Asked,
    /// `status`, or `body`.
    pub what: &'static str,
    pub answered: Seen,
    pub mirrored: Seen,
}

/// What has been found on a route; a reload keeps it.
pub struct Report {
    latest: Mutex<VecDeque<Difference>>,
    same: IntCounter,
    status: IntCounter,
    body: IntCounter,
    incomplete: IntCounter,
}

impl Report {
    pub fn new(route: &str, metrics: &Metrics) -> Report {
        let count = |result| metrics.traffic.comparisons.with_label_values(&[route, result]);
        Report {
            latest: Mutex::default(),
            same: count("same"),
            status: count("status"),
            body: count("body"),
            incomplete: count("incomplete"),
        }
    }

    /// Counts, and the latest differences, the newest first.
    pub fn shown(&self) -> serde_json::Value {
        let latest: Vec<Difference> = self.latest.lock().iter().rev().cloned().collect();
        serde_json::json!({
            "same": self.same.get(),
            "status": self.status.get(),
            "body": self.body.get(),
            "incomplete": self.incomplete.get(),
            "latest": latest,
        })
    }

    fn judge(&self, asked: Asked, answered: Option<Seen>, mirrored: Option<Seen>) {
        let (Some(answered), Some(mirrored)) = (answered, mirrored) else {
            return self.incomplete.inc();
        };
        let what = match () {
            () if answered.status != mirrored.status => "status",
            () if answered != mirrored => "body",
            () => return self.same.inc(),
        };
        let count = if what == "status" { &self.status } else { &self.body };
        count.inc();
        let mut latest = self.latest.lock();
        if latest.len() == KEPT_MAX {
            latest.pop_front();
        }
        latest.push_back(Difference { asked, what, answered, mirrored });
    }
}

/// One request's two answers, whichever comes first.
pub struct Comparison {
    report: Arc<Report>,
    asked: Asked,
    /// The other's, `None` inside where it is not whole.
    first: Mutex<Option<(Side, Option<Seen>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Answered,
    Mirrored,
}

impl Comparison {
    pub fn new(report: Arc<Report>, asked: Asked) -> Arc<Comparison> {
        Arc::new(Comparison { report, asked, first: Mutex::default() })
    }

    /// One of the answers has ended; nothing where it was not whole.
    fn ended(&self, side: Side, seen: Option<Seen>) {
        let other = {
            let mut first = self.first.lock();
            match first.take() {
                None => {
                    *first = Some((side, seen));
                    return;
                }
                Some((_, other)) => other,
            }
        };
        let (answered, mirrored) = match side {
            Side::Answered => (seen, other),
            Side::Mirrored => (other, seen),
        };
        self.report.judge(self.asked.clone(), answered, mirrored);
    }
}

/// The client's side of a comparison, while its answer passes by.
pub struct Ours {
    comparison: Arc<Comparison>,
    passing: Passing,
}

impl Ours {
    pub fn new(comparison: Arc<Comparison>) -> Ours {
        Ours { comparison, passing: Passing::default() }
    }

    pub fn part(&mut self, part: &Bytes) {
        self.passing.part(part);
    }

    /// `status`: the upstream's, where the answer is whole and nobody else's.
    pub fn end(self, status: Option<u16>) {
        let Ours { comparison, passing } = self;
        comparison.ended(Side::Answered, status.map(|status| passing.end(status)));
    }
}

/// The copy's side of a comparison. A copy that is dropped unanswered has no whole answer either.
pub struct Theirs(Option<Arc<Comparison>>);

impl Theirs {
    pub fn new(comparison: Arc<Comparison>) -> Theirs {
        Theirs(Some(comparison))
    }

    /// Nothing where the answer was not whole.
    pub fn end(mut self, seen: Option<Seen>) {
        if let Some(comparison) = self.0.take() {
            comparison.ended(Side::Mirrored, seen);
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        if let Some(comparison) = self.0.take() {
            comparison.ended(Side::Mirrored, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, body: &str) -> Option<Seen> {
        let mut passing = Passing::default();
        passing.part(body.as_bytes());
        Some(passing.end(status))
    }

    #[test]
    fn whichever_comes_first_the_two_are_held_against_each_other() {
        let report = Arc::new(Report::new("all", &Metrics::new()));
        let asked = |path: &str| Asked {
            time: String::new(),
            request_id: "id".to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
        };
        for (path, answered, mirrored) in [
            ("/same", seen(200, "a"), seen(200, "a")),
            ("/body", seen(200, "a"), seen(200, "b")),
            ("/status", seen(200, "a"), seen(500, "a")),
            ("/broken", seen(200, "a"), None),
        ] {
            for answered_first in [true, false] {
                let comparison = Comparison::new(Arc::clone(&report), asked(path));
                let mut ends =
                    [(Side::Answered, answered.clone()), (Side::Mirrored, mirrored.clone())];
                if !answered_first {
                    ends.reverse();
                }
                for (side, seen) in ends {
                    comparison.ended(side, seen);
                }
            }
        }
        // A copy that comes to nothing is one half, and still is when the other has ended.
        let given_up = Comparison::new(Arc::clone(&report), asked("/given-up"));
        drop(Theirs::new(Arc::clone(&given_up)));
        Ours::new(given_up).end(Some(200));
        let shown = report.shown();
        for (result, count) in [("same", 2), ("body", 2), ("status", 2), ("incomplete", 3)] {
            assert_eq!(shown[result], count, "{result}");
        }
        let latest = shown["latest"].as_array().unwrap();
        assert_eq!(latest.len(), 4);
        assert_eq!(
            (&latest[0]["path"], &latest[0]["mirrored"]["status"]),
            (&"/status".into(), &500.into())
        );
        for _ in 0..2 * KEPT_MAX {
            report.judge(asked("/more"), seen(200, "a"), seen(200, "b"));
        }
        assert_eq!(report.latest.lock().len(), KEPT_MAX);
    }
}
