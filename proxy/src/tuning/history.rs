//! What was in force since the start, who put it there, and what it changed. Bounded: the oldest go.

use std::collections::VecDeque;
use std::sync::Arc;

use proxy_config::Config;
use serde::Serialize;

use crate::tuning::{Change, differences};

/// Configurations that can be gone back to.
pub const RECORDS_MAX: usize = 64;

/// How a configuration came to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Start,
    /// The document was read again.
    Reload,
    Set,
    Rollback,
}

/// Who changes what is in force, and how.
pub struct Author {
    pub cause: Cause,
    pub by: Option<String>,
    pub note: Option<String>,
}

impl Author {
    /// It was read from the document.
    pub fn document(cause: Cause) -> Author {
        Author { cause, by: None, note: None }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Of the generation.
    pub number: u64,
    /// RFC 3339, in UTC.
    pub at: String,
    pub cause: Cause,
    /// The token's name; absent when it was the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub changes: Vec<Change>,
    #[serde(skip)]
    pub config: Arc<Config>,
}

impl Record {
    /// `before` is what was in force.
    pub fn new(number: u64, author: Author, before: Option<&Config>, config: &Config) -> Record {
        let written = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        let changes = before.map(|before| differences(&written(before), &written(config)));
        let Author { cause, by, note } = author;
        Record {
            number,
            at: jiff::Timestamp::now().to_string(),
            cause,
            by,
            note,
            changes: changes.unwrap_or_default(),
            config: Arc::new(config.clone()),
        }
    }
}

/// The records, oldest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Record>);

impl History {
    pub fn add(&mut self, record: Record) {
        if self.0.len() >= RECORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }

    pub fn find(&self, number: u64) -> Option<&Record> {
        self.0.iter().find(|record| record.number == number)
    }

    /// What was in force before the newest.
    pub fn previous(&self) -> Option<&Record> {
        self.0.iter().rev().nth(1)
    }
}
