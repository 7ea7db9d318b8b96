//! Rows for MariaDB, a value each.
//!
//! Nearly half of what a transfer costs MariaDB is reading its text: every value of every row is a node of the
//! statement that is made, resolved and thrown away. So the values of a row travel as one binary string, and the statement
//! says once for each column where it lies in there. What is the same in all rows is said once.

use std::fmt::Write as _;

use super::super::row;
use super::super::table::{Cell, Clash, Sort, Table};
use super::write::{columns, literal};

/// Fewer rows are not worth an expression for each column and a table of the server's.
const ROWS_MIN: usize = 32;
/// The server puts the strings of a statement into a table of its own first, which takes as much memory for each as the
/// longest of them has.
const ROWS_MAX: usize = 1000;
const ROW_BYTES_MAX: usize = 2048;
/// Digits of a place, or of a length, within a row.
const PLACE_DIGITS: usize = 4;

/// Where the values of a column lie.
struct Part<'a> {
    /// What every row has.
    constant: Option<&'a Cell<'a>>,
    sort: Sort,
    /// Begins with a byte that says whether there is a value.
    has_nulls: bool,
    /// Bytes of each; nothing where they differ, and place and length are said instead.
    width: Option<usize>,
    /// From the beginning of the row.
    at: usize,
}

/// Appends a statement that writes the first of these rows; says how many cells they have, none where they cannot be sent
/// in this way.
pub fn push(text: &mut String, table: &Table, cells: &[Cell<'_>]) -> usize {
    let width = table.columns.len();
    let cells = &cells[..cells.len().min(width * ROWS_MAX)];
    if table.clash == Clash::Adds || cells.len() < width * ROWS_MIN {
        return 0;
    }
    let (parts, head_bytes) = parts(table, cells);
    let mut packed = Vec::with_capacity(cells.len() / width);
    for row in cells.chunks(width) {
        let Some(bytes) = bytes(row, &parts, head_bytes) else { return 0 };
        packed.push(bytes);
    }
    match table.clash {
        Clash::Replaces => text.push_str("UPDATE ("),
        _ => {
            let _ = write!(text, "INSERT INTO {} ({}) ", table.name, columns(table));
        }
    }
    text.push_str("WITH packed (v) AS (VALUES ");
    for (index, bytes) in packed.iter().enumerate() {
        text.push_str(if index == 0 { "(x'" } else { ",(x'" });
        row::push_hex(text, bytes);
        text.push_str("')");
    }
    match table.clash {
        Clash::Replaces => push_update(text, table, &parts),
        _ => {
            text.push_str(") SELECT ");
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_column(text, part);
            }
            text.push_str(" FROM packed;");
        }
    }
    cells.len()
}

/// Looks each row up by its key, which costs less than to insert it and find that it is there.
fn push_update(text: &mut String, table: &Table, parts: &[Part<'_>]) {
    let _ = write!(text, ") SELECT v FROM packed) AS new STRAIGHT_JOIN {} AS old", table.name);
    for (index, ((name, _), part)) in table.columns.iter().zip(parts).enumerate() {
        text.push_str(match index {
            0 => " ON ",
            index if index < table.keys => " AND ",
            index if index == table.keys => " SET ",
            _ => ",",
        });
        let _ = write!(text, "old.`{name}`=");
        push_column(text, part);
    }
    text.push(';');
}

/// Where each column lies, and how many bytes that takes ahead of what differs in length.
fn parts<'a>(table: &Table, cells: &'a [Cell<'a>]) -> (Vec<Part<'a>>, usize) {
    let mut at = 0;
    let of_column = |(index, (_, sort)): (usize, &(&str, Sort))| {
        let column = || cells.iter().skip(index).step_by(table.columns.len());
        let first = &cells[index];
        let constant = column().all(|cell| cell == first).then_some(first);
        let has_nulls = column().any(|cell| *cell == Cell::Null);
        let lengths = || column().filter(|cell| **cell != Cell::Null).map(length);
        let longest = lengths().max().unwrap_or(0);
        let is_fixed = *sort == Sort::Long || lengths().all(|length| length == longest);
        let width = is_fixed.then_some(longest);
        let part = Part { constant, sort: *sort, has_nulls, width, at };
        if part.constant.is_none() {
            at += usize::from(has_nulls) + width.unwrap_or(2 * PLACE_DIGITS);
        }
        part
    };
    let parts = table.columns.iter().enumerate().map(of_column).collect();
    (parts, at)
}

/// Bytes of a value; numbers are written in digits.
fn length(cell: &Cell<'_>) -> usize {
    match cell {
        Cell::Long(number) => {
            let sign = usize::from(*number < 0);
            sign + number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1)
        }
        other => raw(other).len(),
    }
}

fn raw<'a>(cell: &'a Cell<'_>) -> &'a [u8] {
    match cell {
        Cell::Null | Cell::Long(_) => &[],
        Cell::Text(text) => text.as_bytes(),
        Cell::Shared(text) | Cell::Plain(text) => text.as_bytes(),
        Cell::Word(text) => text.as_bytes(),
        Cell::Bytes(bytes) => bytes,
        Cell::Uuid(id) => id.as_bytes(),
    }
}

/// A row as one string; nothing when it is too long.
fn bytes(row: &[Cell<'_>], parts: &[Part<'_>], head_bytes: usize) -> Option<Vec<u8>> {
    let mut head = String::new();
    let mut bytes = Vec::with_capacity(head_bytes);
    let mut tail = Vec::new();
    for (cell, part) in row.iter().zip(parts) {
        if part.constant.is_some() {
            continue;
        }
        if part.has_nulls {
            bytes.push(if *cell == Cell::Null { b'0' } else { b'1' });
        }
        match (part.width, cell) {
            (Some(width), Cell::Null) => bytes.resize(bytes.len() + width, b'0'),
            (Some(width), Cell::Long(number)) => {
                head.clear();
                let _ = write!(head, "{number:0width$}");
                bytes.extend_from_slice(head.as_bytes());
            }
            (Some(_), cell) => bytes.extend_from_slice(raw(cell)),
            (None, cell) => {
                head.clear();
                let (place, length) = (head_bytes + tail.len() + 1, raw(cell).len());
                let _ = write!(head, "{place:0PLACE_DIGITS$}{length:0PLACE_DIGITS$}");
                bytes.extend_from_slice(head.as_bytes());
                tail.extend_from_slice(raw(cell));
            }
        }
    }
    bytes.append(&mut tail);
    (bytes.len() <= ROW_BYTES_MAX).then_some(bytes)
}

fn push_column(text: &mut String, part: &Part<'_>) {
    if let Some(constant) = part.constant {
        return literal(text, constant);
    }
    let at = part.at + 1 + usize::from(part.has_nulls);
    let value = match part.width {
        Some(width) => format!("SUBSTR(v,{at},{width})"),
        None => {
            let behind = at + PLACE_DIGITS;
            format!("SUBSTR(v,SUBSTR(v,{at},{PLACE_DIGITS}),SUBSTR(v,{behind},{PLACE_DIGITS}))")
        }
    };
    let value = match part.sort {
        Sort::Long => format!("CAST({value} AS SIGNED)"),
        Sort::Text => format!("CONVERT({value} USING utf8mb4)"),
        Sort::Bytes | Sort::Uuid => value,
    };
    let _ = match part.has_nulls {
        true => write!(text, "IF(SUBSTR(v,{},1)='1',{value},NULL)", part.at + 1),
        false => write!(text, "{value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOOKED: Table = Table {
        name: "t",
        columns: &[
            ("key", Sort::Long),
            ("said", Sort::Text),
            ("kind", Sort::Text),
            ("mark", Sort::Bytes),
        ],
        keys: 1,
        clash: Clash::Fails,
    };

    fn cells<'a>(rows: &[(i64, &'a str, Option<&'a [u8]>)]) -> Vec<Cell<'a>> {
        let of_row = |(key, said, mark): &(i64, &'a str, Option<&'a [u8]>)| {
            let mark = mark.map_or(Cell::Null, Cell::Bytes);
            [Cell::Long(*key), Cell::Text(said), Cell::Word("plain"), mark]
        };
        rows.iter().flat_map(of_row).collect()
    }

    fn packed(cells: &[Cell<'_>]) -> (String, usize) {
        let mut text = String::new();
        let done = push(&mut text, &BOOKED, cells);
        (text, done)
    }

    #[test]
    fn a_row_is_one_string_and_a_column_a_place_in_it() {
        let mut rows = vec![(4, "", None); ROWS_MIN];
        rows[0] = (-7, "o'é", None);
        rows[1] = (12, "", Some(&[0, 255][..]));
        rows[2] = (3, "a", None);
        let (text, done) = packed(&cells(&rows));
        let first: Vec<u8> = [&b"-7"[..], b"0014", b"0004", b"000", "o'é".as_bytes()].concat();
        let mut hex = String::new();
        row::push_hex(&mut hex, &first);
        assert_eq!(done, 4 * ROWS_MIN);
        assert!(
            text.starts_with(&format!(
                "INSERT INTO t (`key`,`said`,`kind`,`mark`) WITH packed (v) AS (VALUES (x'{hex}'),(x'"
            )),
            "{text}"
        );
        let columns = ") SELECT CAST(SUBSTR(v,1,2) AS SIGNED),\
            CONVERT(SUBSTR(v,SUBSTR(v,3,4),SUBSTR(v,7,4)) USING utf8mb4),'plain',\
            IF(SUBSTR(v,11,1)='1',SUBSTR(v,12,2),NULL) FROM packed;";
        assert!(text.ends_with(columns), "{text}");
    }

    #[test]
    fn rows_that_are_there_are_looked_up() {
        const REPLACED: Table = Table {
            name: "u",
            columns: &[("a", Sort::Long), ("b", Sort::Long), ("c", Sort::Long), ("d", Sort::Long)],
            keys: 2,
            clash: Clash::Replaces,
        };
        let of_row = |number: i64| [number, number + 1, 7, 100 * number].map(Cell::Long);
        let cells: Vec<Cell<'_>> = (10..50).flat_map(of_row).collect();
        let mut text = String::new();
        assert_eq!(push(&mut text, &REPLACED, &cells), 160);
        assert!(text.starts_with("UPDATE (WITH packed (v) AS (VALUES (x'3130313131303030'),(x'"));
        let set = ") SELECT v FROM packed) AS new STRAIGHT_JOIN u AS old \
            ON old.`a`=CAST(SUBSTR(v,1,2) AS SIGNED) AND old.`b`=CAST(SUBSTR(v,3,2) AS SIGNED) \
            SET old.`c`=7,old.`d`=CAST(SUBSTR(v,5,4) AS SIGNED);";
        assert!(text.ends_with(set), "{text}");
        let mut text = String::new();
        const ADDED: Table = Table { clash: Clash::Adds, ..REPLACED };
        assert_eq!((push(&mut text, &ADDED, &cells), text.as_str()), (0, ""));
    }

    #[test]
    fn what_does_not_fit_is_left() {
        let few = cells(&[(1, "a", None); ROWS_MIN - 1]);
        assert_eq!(packed(&few), (String::new(), 0));
        let long = "x".repeat(ROW_BYTES_MAX);
        let mut rows = vec![(1, "a", None); ROWS_MIN];
        rows[8].1 = &long;
        assert_eq!(packed(&cells(&rows)), (String::new(), 0));
        let many = cells(&vec![(1, "a", None); ROWS_MAX + 1]);
        assert_eq!(packed(&many).1, many.len() - BOOKED.columns.len());
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        for number in [0, 9, 10, 99, 100, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(length(&Cell::Long(number)), number.to_string().len(), "{number}");
        }
    }
}
