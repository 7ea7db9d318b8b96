//! The account of a translation: every directive once, with its place and verdict, and the share
//! of each verdict.

use serde::Serialize;

use crate::directive::Context;
use crate::traffic::Traffic;
use crate::translate::Translation;
use crate::tree::{Body, Directive, Document};
use crate::verdict::{Exactness, Verdicts};

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub shares: Vec<Share>,
    /// Directives counted; rows of `map`, `types` and the like are listed but not counted.
    pub directives: usize,
    pub items: Vec<Item>,
    /// Differences that no directive stands for.
    pub notes: Vec<String>,
    /// Of an access log, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Share {
    pub exactness: Exactness,
    pub count: usize,
    /// Of 100, rounded to one decimal.
    pub percent: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The directive with its arguments.
    pub directive: String,
    pub name: String,
    /// Names of the blocks around it, outermost first.
    pub context: Vec<String>,
    /// A row of `map`, `types`, ... and not a directive.
    pub row: bool,
    pub exactness: Exactness,
    pub text: String,
    #[serde(skip)]
    pub id: usize,
}

impl Report {
    pub fn new(document: &Document, translation: &Translation) -> Report {
        let mut collector =
            Collector { document, verdicts: &translation.verdicts, items: Vec::new() };
        collector.block(&document.directives, Context::Main, &mut Vec::new());
        let items = collector.items;
        let directives = items.iter().filter(|item| !item.row).count();
        let count = |exactness| {
            let counted = items.iter().filter(|item| !item.row && item.exactness == exactness);
            counted.count()
        };
        let shares =
            Exactness::ALL.map(|exactness| share(exactness, count(exactness), directives)).to_vec();
        let (notes, traffic) = (translation.notes.clone(), None);
        Report { shares, directives, items, notes, traffic }
    }

    pub fn unsupported(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.exactness == Exactness::Unsupported)
    }
}

/// A part of all.
pub fn share(exactness: Exactness, count: usize, all: usize) -> Share {
    let per_mille = (count * 1000 + all / 2).checked_div(all).unwrap_or(0);
    let percent = u32::try_from(per_mille).map_or(100.0, |share| f64::from(share) / 10.0);
    Share { exactness, count, percent }
}

struct Collector<'a> {
    document: &'a Document,
    verdicts: &'a Verdicts,
    items: Vec<Item>,
}

impl Collector<'_> {
    fn block(&mut self, block: &[Directive], context: Context, around: &mut Vec<String>) {
        for directive in block {
            self.items.push(self.item(directive, context, around));
            if matches!(directive.body, Body::Include(_)) {
                self.block(directive.children(), context, around);
            } else {
                around.push(directive.name.clone());
                self.block(directive.children(), context.inside(&directive.name), around);
                around.pop();
            }
        }
    }

    fn item(&self, directive: &Directive, context: Context, around: &[String]) -> Item {
        let verdict = self.verdicts.get(directive);
        Item {
            file: self.document.files.name(directive.start.file).to_owned(),
            line: directive.start.line,
            column: directive.start.column,
            directive: directive.heading(),
            name: directive.name.clone(),
            context: around.to_vec(),
            row: context == Context::Rows && !matches!(directive.body, Body::Include(_)),
            exactness: verdict.map_or(Exactness::Unsupported, |verdict| verdict.exactness),
            text: verdict.map_or_else(String::new, |verdict| verdict.text.clone()),
            id: directive.id,
        }
    }
}
