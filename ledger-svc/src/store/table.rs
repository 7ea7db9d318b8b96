//! Tables and their rows, as every engine is given them to write.

use std::sync::Arc;

use uuid::Uuid;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Long,
    Text,
    Bytes,
    Uuid,
}

/// A table that is written to, and its columns.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Sort)],
    /// How many of the columns, from the first, are the key.
    pub keys: usize,
    pub clash: Clash,
}

/// What becomes of a row whose key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    Fails,
    /// The new values take the place of the old. It is always there.
    Replaces,
    /// The new values are added to the old.
    Adds,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    Long(i64),
    Text(&'a str),
    /// A text that others hold too.
    Shared(Arc<str>),
    /// One of few.
    Word(&'static str),
    /// A date or hex digits, which need no quoting in any engine.
    Plain(Arc<str>),
    Bytes(&'a [u8]),
    Uuid(Uuid),
}

/// Rows of one table, cell after cell.
#[derive(Debug)]
pub struct Rows<'a> {
    pub table: &'static Table,
    pub cells: Vec<Cell<'a>>,
}

impl Rows<'_> {
    pub fn width(&self) -> usize {
        self.table.columns.len()
    }

    pub fn count(&self) -> usize {
        self.cells.len() / self.width()
    }
}

pub const fn table(name: &'static str, columns: &'static [(&'static str, Sort)]) -> Table {
    Table { name, columns, keys: 1, clash: Clash::Fails }
}

pub fn long_if_any<'a>(number: Option<i64>) -> Cell<'a> {
    number.map_or(Cell::Null, Cell::Long)
}
