//! Rows for people and programs: a table, CSV (RFC 4180) or JSON, written a page at a time so that memory does not grow
//! with their number.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns side by side, for people; the heading comes again every thousand rows
    Table,
    /// What the API answers, all pages in one list
    Json,
    /// A heading line first (RFC 4180)
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub align: Align,
}

/// Rows that are being written.
pub struct Sheet<W: Write> {
    out: BufWriter<W>,
    format: Format,
    columns: &'static [Column],
    rows: usize,
    /// What ends the JSON.
    end: &'static str,
}

impl<W: Write> Sheet<W> {
    /// A list of rows.
    pub fn begin(out: W, format: Format, columns: &'static [Column]) -> anyhow::Result<Self> {
        Self::opened(out, format, columns, "[", "]")
    }

    /// In JSON, the rows are the field `list` of the object `head`, which has fields of its own.
    pub fn within(
        out: W,
        format: Format,
        columns: &'static [Column],
        head: &Value,
        list: &str,
    ) -> anyhow::Result<Self> {
        let fields = head.to_string();
        let fields = fields.strip_suffix('}').unwrap_or(&fields);
        Self::opened(out, format, columns, &format!("{fields},\"{list}\":["), "]}")
    }

    fn opened(
        out: W,
        format: Format,
        columns: &'static [Column],
        begin: &str,
        end: &'static str,
    ) -> anyhow::Result<Self> {
        let mut out = BufWriter::new(out);
        match format {
            Format::Table => {}
            Format::Json => ended(write!(out, "{begin}"))?,
            Format::Csv => {
                let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
                ended(write!(out, "{}\r\n", names.join(",")))?;
            }
        }
        Ok(Self { out, format, columns, rows: 0, end })
    }

    /// A line above or below a table; other programs have no use for it.
    pub fn line(&mut self, text: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Table => ended(writeln!(self.out, "{text}")),
            Format::Json | Format::Csv => Ok(()),
        }
    }

    /// Some rows. `cells` says what each column holds.
    pub fn page<T: Serialize>(
        &mut self,
        items: &[T],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table if items.is_empty() && self.rows > 0 => {}
            Format::Table => {
                let rows: Vec<Vec<String>> = items.iter().map(cells).collect();
                ended(self.out.write_all(table(self.columns, &rows).as_bytes()))?;
            }
            Format::Json => {
                for (index, item) in items.iter().enumerate() {
                    let comma = if self.rows + index > 0 { "," } else { "" };
                    ended(write!(self.out, "{comma}\n  {}", serde_json::to_string(item)?))?;
                }
            }
            Format::Csv => {
                for item in items {
                    let cells: Vec<String> = cells(item).iter().map(|cell| quoted(cell)).collect();
                    ended(write!(self.out, "{}\r\n", cells.join(",")))?;
                }
            }
        }
        self.rows += items.len();
        Ok(())
    }

    pub fn end(mut self) -> anyhow::Result<()> {
        if self.format == Format::Json {
            let (line, end) = (if self.rows > 0 { "\n" } else { "" }, self.end);
            ended(writeln!(self.out, "{line}{end}"))?;
        }
        ended(self.out.flush())
    }
}

/// A reader that has seen enough, such as `head`, is no failure: there is nobody left to tell anything.
fn ended(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// The heading and the rows, each column as wide as its widest cell.
fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let heading: Vec<String> = columns.iter().map(|column| column.name.replace('_', " ")).collect();
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| all().map(|row| width(&row[place])).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for ((column, cell), wide) in columns.iter().zip(row).zip(&widths) {
            let gap = " ".repeat(wide - width(cell));
            match column.align {
                Align::Left => line.push_str(&format!("{cell}{gap}  ")),
                Align::Right => line.push_str(&format!("{gap}{cell}  ")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "what_it_is", align: Align::Left },
        Column { name: "amount", align: Align::Right },
    ];

    fn written(format: Format, pages: &[&[(&str, &str)]]) -> String {
        let mut bytes = Vec::new();
        let mut sheet = Sheet::begin(&mut bytes, format, COLUMNS).unwrap();
        for page in pages {
            sheet.page(page, |(what, amount)| vec![(*what).into(), (*amount).into()]).unwrap();
        }
        sheet.end().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_same_rows_three_ways() {
        let pages: &[&[(&str, &str)]] =
            &[&[("straße", "1.00"), ("a \"b\", c", "-10.00")], &[("d", "2")]];
        assert_eq!(
            written(Format::Table, pages),
            "what it is  amount\nstraße        1.00\na \"b\", c    -10.00\nwhat it is  amount\nd                2\n"
        );
        assert_eq!(
            written(Format::Csv, pages),
            "what_it_is,amount\r\nstraße,1.00\r\n\"a \"\"b\"\", c\",-10.00\r\nd,2\r\n"
        );
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json, pages)).unwrap();
        assert_eq!(
            json,
            serde_json::json!([["straße", "1.00"], ["a \"b\", c", "-10.00"], ["d", "2"]])
        );
    }

    #[test]
    fn rows_may_be_a_part_of_something() {
        let mut bytes = Vec::new();
        let head = serde_json::json!({"of": "x"});
        let mut sheet = Sheet::within(&mut bytes, Format::Json, COLUMNS, &head, "rows").unwrap();
        sheet.page(&[1, 2], |_| Vec::new()).unwrap();
        sheet.end().unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json, serde_json::json!({"of": "x", "rows": [1, 2]}));
    }

    #[test]
    fn nothing_is_a_heading_or_an_empty_list() {
        assert_eq!(written(Format::Table, &[&[]]), "what it is  amount\n");
        assert_eq!(written(Format::Csv, &[&[]]), "what_it_is,amount\r\n");
        assert_eq!(written(Format::Json, &[&[]]), "[]\n");
    }
}
