//! Statements as tables (CSV): every bank has its own columns, so a mapping says which is which and how dates and amounts
//! are written.

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord};
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::ToSchema;

use super::statement::{
    IDENTITY_CHARS_MAX, LINES_MAX, REFERENCE_CHARS_MAX, ReadLine, ReadStatement, TEXT_CHARS_MAX,
    cut,
};
use crate::interchange::{Faults, Found};
use crate::money::{Currency, signed_minor};

/// The first year a statement may be of.
const YEAR_MIN: i16 = 1000;

/// How a bank's table is read. Columns are named as its heading names them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What stands between fields: one character.
    #[serde(default = "comma")]
    #[schema(default = ",", min_length = 1, max_length = 1)]
    pub delimiter: String,
    /// Lines before the heading.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub skip_lines: usize,
    /// The column of the date.
    #[schema(example = "Buchungstag")]
    pub date: String,
    /// How dates are written, with %d, %m and %Y or %y.
    #[serde(default = "iso")]
    #[schema(default = "%Y-%m-%d", example = "%d.%m.%Y")]
    pub date_format: String,
    /// The column of signed amounts: what is positive raises the balance.
    #[serde(default)]
    #[schema(example = "Betrag")]
    pub amount: Option<String>,
    /// Instead of `amount`: the column of what came in, and the one of what went out, both without a sign.
    #[serde(default, rename = "in")]
    pub incoming: Option<String>,
    #[serde(default, rename = "out")]
    pub outgoing: Option<String>,
    /// What stands before decimals.
    #[serde(default = "point")]
    #[schema(default = ".", min_length = 1, max_length = 1)]
    pub decimal: String,
    /// What stands between groups of three digits before the decimals; left out of amounts.
    #[serde(default)]
    #[schema(max_length = 1)]
    pub thousands: String,
    /// The table is written from the other side: what is positive lowers the balance.
    #[serde(default)]
    pub inverted: bool,
    /// The column that must say the account's currency.
    #[serde(default)]
    pub currency: Option<String>,
    /// The column of a reference that both sides may know.
    #[serde(default)]
    pub reference: Option<String>,
    /// The column of the number that the sender gives to a line and to no other: by it, with day and amount, a line is known
    /// again in a statement that covers the same days. A reference that several payments may share is none.
    #[serde(default)]
    #[schema(example = "Umsatz-ID")]
    pub identity: Option<String>,
    /// Columns whose texts are joined.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub text: Vec<String>,
}

fn comma() -> String {
    ",".into()
}
fn point() -> String {
    ".".into()
}
fn iso() -> String {
    "%Y-%m-%d".into()
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the mapping's {field}: {what}")]
pub struct MappingError {
    pub field: &'static str,
    pub what: &'static str,
}

impl Mapping {
    pub fn validate(&self) -> Result<(), MappingError> {
        let wrong = |field, what| Err(MappingError { field, what });
        if self.delimiter.len() != 1 || self.delimiter.as_bytes()[0] == b'"' {
            return wrong("delimiter", "write one character, such as \";\"");
        }
        if self.decimal.chars().count() != 1 || self.decimal == self.thousands {
            return wrong("decimal", "write one character, another than `thousands`");
        }
        if self.thousands.chars().count() > 1 {
            return wrong("thousands", "write one character, or none");
        }
        match (&self.amount, &self.incoming, &self.outgoing) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            _ => wrong("amount", "give `amount`, or `in` and `out`"),
        }
    }

    fn columns(&self) -> impl Iterator<Item = &String> {
        let own = [&self.reference, &self.identity];
        let named = [&self.amount, &self.incoming, &self.outgoing, &self.currency];
        let named = named.into_iter().chain(own);
        std::iter::once(&self.date).chain(named.flatten()).chain(&self.text)
    }
}

/// Reads a table of an account in that currency.
pub fn read(text: &str, mapping: &Mapping, currency: &Currency) -> Result<ReadStatement, Faults> {
    let mut found = Found::default();
    let skipped: usize = text.split_inclusive('\n').take(mapping.skip_lines).map(str::len).sum();
    let body = text[skipped..].trim_start_matches('\u{feff}');
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(mapping.delimiter.bytes().next().unwrap_or(b','))
        .from_reader(body.as_bytes());
    let mut columns: Option<Columns> = None;
    let mut read = ReadStatement::default();
    for record in reader.records() {
        let at = |position: Option<&csv::Position>| {
            let line = position.map_or(1, csv::Position::line);
            usize::try_from(line).unwrap_or(1) + mapping.skip_lines
        };
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                found.at(at(error.position()), error.to_string());
                continue;
            }
        };
        let line = at(record.position());
        let Some(columns) = &columns else {
            columns = Some(heading(&record, line, mapping, &mut found));
            continue;
        };
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        if read.lines.len() >= LINES_MAX {
            found.at(
                line,
                format!("there are more than {LINES_MAX} lines; ask for shorter statements"),
            );
            break;
        }
        let row = Row { record: &record, places: &columns.places, mapping };
        match columns.fit(&record).and_then(|()| row.line(currency)) {
            // No entry moves nothing, so such a line would be open for ever.
            Ok(it) if it.minor == 0 => found.at(line, "it moves nothing; take it out"),
            Ok(it) => read.lines.push(it),
            Err(why) => found.at(line, why),
        }
    }
    if columns.is_none() {
        found.at(mapping.skip_lines + 1, "the heading line is missing");
    }
    found.end(read)
}

fn heading(record: &StringRecord, line: usize, mapping: &Mapping, found: &mut Found) -> Columns {
    let mut places = HashMap::new();
    for (place, name) in record.iter().enumerate() {
        // Of two columns of one name the first counts; a mapping that wants it is told.
        let twice = places.contains_key(name.trim());
        if twice && mapping.columns().any(|wanted| wanted == name.trim()) {
            found.at(line, format!("the column {:?} is there twice", name.trim()));
        }
        places.entry(name.trim().to_owned()).or_insert(place);
    }
    for name in mapping.columns().filter(|name| !places.contains_key(*name)) {
        let there: Vec<&str> = record.iter().map(str::trim).collect();
        found.at(
            line,
            format!("there is no column {name:?}; those there are: {}", there.join(", ")),
        );
    }
    Columns { places, least: filled(record), most: record.len() }
}

/// What the heading says.
struct Columns {
    places: HashMap<String, usize>,
    /// Fields that a row has.
    least: usize,
    most: usize,
}

/// How many fields a row has, without empty ones at its end: some banks end rows, or the heading, with a separator.
fn filled(record: &StringRecord) -> usize {
    (0..record.len())
        .rev()
        .find(|place| !record[*place].trim().is_empty())
        .map_or(0, |last| last + 1)
}

impl Columns {
    /// With a field too many, or too few, nobody knows which of them are in their columns: an amount with a decimal comma
    /// that nothing encloses is two.
    fn fit(&self, record: &StringRecord) -> Result<(), String> {
        let filled = filled(record);
        if record.len() >= self.least && filled <= self.most {
            return Ok(());
        }
        let fields = if filled > self.most { filled } else { record.len() };
        Err(format!("it has {fields} fields, and the heading {}", self.least))
    }
}

struct Row<'a> {
    record: &'a StringRecord,
    places: &'a HashMap<String, usize>,
    mapping: &'a Mapping,
}

impl Row<'_> {
    fn field(&self, name: &str) -> &str {
        self.places.get(name).and_then(|place| self.record.get(*place)).unwrap_or_default().trim()
    }

    fn line(&self, currency: &Currency) -> Result<ReadLine, String> {
        let mapping = self.mapping;
        if let Some(column) = &mapping.currency
            && self.field(column) != currency.code
        {
            let found = self.field(column);
            return Err(format!("it is in {found:?}, and the account holds {}", currency.code));
        }
        let written = self.field(&mapping.date);
        let date = Date::strptime(&mapping.date_format, written)
            .map_err(|_| format!("{written:?} is no date like {}", mapping.date_format))?;
        // %Y takes a year of two digits for one of the first century.
        if date.year() < YEAR_MIN {
            let year = date.year();
            return Err(format!("{written:?} is in the year {year}; %y reads years of two digits"));
        }
        let minor = match (&mapping.amount, &mapping.incoming, &mapping.outgoing) {
            (Some(amount), ..) => self.minor(amount, currency)?,
            (_, Some(incoming), Some(outgoing)) => {
                match (self.field(incoming).is_empty(), self.field(outgoing).is_empty()) {
                    (false, true) => self.unsigned(incoming, currency)?,
                    (true, false) => -self.unsigned(outgoing, currency)?,
                    _ => return Err(format!("either {incoming} or {outgoing} has to be there")),
                }
            }
            _ => return Err("the mapping names no amount".into()),
        };
        let texts: Vec<&str> = mapping.text.iter().map(|column| self.field(column)).collect();
        let reference = mapping.reference.as_ref().map_or("", |column| self.field(column));
        Ok(ReadLine {
            date,
            minor: if mapping.inverted { -minor } else { minor },
            reference: cut(reference, REFERENCE_CHARS_MAX),
            text: cut(&texts.join(" "), TEXT_CHARS_MAX),
            identity: self.identity()?,
        })
    }

    fn identity(&self) -> Result<String, String> {
        let Some(column) = &self.mapping.identity else { return Ok(String::new()) };
        let written = self.field(column);
        let told = if written.is_empty() { String::new() } else { format!("id {written}") };
        if told.chars().count() > IDENTITY_CHARS_MAX {
            return Err(format!("{column}: it is too long to tell a line by"));
        }
        Ok(told)
    }

    /// Of a column that says by its name which way the amount goes.
    fn unsigned(&self, column: &str, currency: &Currency) -> Result<i64, String> {
        let written = self.field(column);
        if written.starts_with(['-', '+']) {
            return Err(format!(
                "{column}: {written:?} has a sign, and `in` and `out` have none; one column with signs is `amount`"
            ));
        }
        self.minor(column, currency)
    }

    fn minor(&self, column: &str, currency: &Currency) -> Result<i64, String> {
        let mapping = self.mapping;
        let written = self.field(column);
        let plain = plain(written, &mapping.decimal, &mapping.thousands).ok_or_else(|| {
            let (decimal, thousands) = (&mapping.decimal, &mapping.thousands);
            let grouped = match thousands.as_str() {
                "" => String::new(),
                it => format!(" and {it:?} between groups of three digits"),
            };
            format!("{column}: {written:?} is no amount with {decimal:?} before decimals{grouped}")
        })?;
        signed_minor(&plain, currency).map_err(|error| format!("{column}: {error}"))
    }
}

/// An amount as everybody else writes it: `1.234,50` becomes `1234.50`. Nothing where a separator stands elsewhere than
/// between thousands: it may be the decimal sign of another bank, and 5.00 is not 500.
fn plain(written: &str, decimal: &str, thousands: &str) -> Option<String> {
    let (sign, unsigned) = match written.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let (whole, decimals) = match unsigned.split_once(decimal) {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (unsigned, None),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut groups = vec![whole];
    if !thousands.is_empty() {
        groups = whole.split(thousands).collect();
    }
    let (first, further) = groups.split_first()?;
    let grouped =
        further.is_empty() || (first.len() <= 3 && further.iter().all(|group| group.len() == 3));
    let numbers = groups.iter().chain(&decimals).all(|group| is_number(group));
    (grouped && numbers).then(|| {
        let point = if decimals.is_some() { "." } else { "" };
        format!("{sign}{}{point}{}", groups.concat(), decimals.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euro() -> Currency {
        Currency { code: "EUR".into(), scale: 2 }
    }

    fn german() -> Mapping {
        serde_json::from_str(r#"{"delimiter":";","skip_lines":2,"date":"Buchungstag","date_format":"%d.%m.%Y","amount":"Betrag","decimal":",","thousands":".","currency":"Währung","reference":"Referenz","text":["Name","Zweck"]}"#).unwrap()
    }

    #[test]
    fn a_banks_table_is_read() {
        let text = "Konto;1\nvom;x\nBuchungstag;Name;Zweck;Referenz;Betrag;Währung\r\n02.01.2026;Müller;\"Rechnung; 7\";o-1;-1.234,50;EUR\r\n;;;;;\r\n";
        let read = read(text, &german(), &euro()).unwrap();
        assert_eq!(read.lines.len(), 1);
        let line = &read.lines[0];
        assert_eq!(
            (
                line.date.to_string().as_str(),
                line.minor,
                line.reference.as_str(),
                line.text.as_str()
            ),
            ("2026-01-02", -123_450, "o-1", "Müller Rechnung; 7")
        );
        let two: Mapping =
            serde_json::from_str(r#"{"date":"d","in":"i","out":"o","inverted":true}"#).unwrap();
        let minors: Vec<i64> =
            super::read("d,i,o\n2026-01-01,5,\n2026-01-01,,2.5\n", &two, &euro())
                .unwrap()
                .lines
                .iter()
                .map(|l| l.minor)
                .collect();
        assert_eq!(minors, [-500, 250]);
        for row in ["2026-01-01,-5.00,", "2026-01-01,,-5.00", "2026-01-01,+5,"] {
            let told =
                super::read(&format!("d,i,o\n{row}\n"), &two, &euro()).unwrap_err().to_string();
            assert!(told.contains("line 2: ") && told.contains("has a sign"), "{row}: {told}");
        }
    }

    #[test]
    fn rows_have_the_fields_of_the_heading() {
        let mapping: Mapping = serde_json::from_str(r#"{"date":"d","amount":"a"}"#).unwrap();
        let minors = |text: &str| -> Result<Vec<i64>, String> {
            let read = read(text, &mapping, &euro()).map_err(|faults| faults.to_string())?;
            Ok(read.lines.iter().map(|line| line.minor).collect())
        };
        // A separator at the end of rows, or of the heading, is no field.
        assert_eq!(minors("d,t,a\n2026-01-01,x,5,\n2026-01-02,,6\n"), Ok(vec![500, 600]));
        assert_eq!(minors("d,t,a,\n2026-01-01,x,5\n2026-01-02,x,6,\n"), Ok(vec![500, 600]));
        // Nor is an empty one in a column of the heading.
        assert_eq!(minors("d,a,t\n2026-01-01,5,\n"), Ok(vec![500]));
        for (row, fields) in
            [("2026-01-01,Foo,12,50,100.00", 5), ("2026-01-02,Smith, 77,-12.50,87.50", 5)]
        {
            let told = minors(&format!("d,t,a,b\n2026-01-01,x,5,5\n{row}\n")).unwrap_err();
            let due = format!("line 3: it has {fields} fields, and the heading 4");
            assert!(told.contains(&due), "{told}");
        }
    }

    #[test]
    fn separators_stand_where_thousands_end() {
        for (written, decimal, thousands, due) in [
            ("1.234,50", ",", ".", Some("1234.50")),
            ("-12.345.678,9", ",", ".", Some("-12345678.9")),
            ("+1234,50", ",", ".", Some("1234.50")),
            ("500", ",", ".", Some("500")),
            ("1 234.5", ".", " ", Some("1234.5")),
            ("5.00", ",", ".", None),
            ("12.34", ",", ".", None),
            ("1234.567", ",", ".", None),
            ("1.234.56", ",", ".", None),
            (".123", ",", ".", None),
            ("1..234", ",", ".", None),
            ("1,234.500", ",", ".", None),
            ("1,5,0", ",", "", None),
            ("5.00", ",", "", None),
            ("5,", ",", "", None),
            (",5", ",", "", None),
            ("--5", ",", "", None),
            ("", ",", "", None),
        ] {
            assert_eq!(plain(written, decimal, thousands).as_deref(), due, "{written:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_at_its_line() {
        let head = "a\nb\nBuchungstag;Name;Zweck;Referenz;Betrag;Währung\n";
        for (rows, at) in [
            ("2026-01-02;;;;1,00;EUR\n", "line 4: \"2026-01-02\" is no date like %d.%m.%Y"),
            ("02.01.26;;;;1,00;EUR\n", "line 4: \"02.01.26\" is in the year 26"),
            ("02.01.2026;;;;1.00x;EUR\n", "line 4: Betrag: "),
            ("02.01.2026;;;;5.00;EUR\n", "line 4: Betrag: \"5.00\" is no amount with \",\""),
            ("02.01.2026;;;;0,00;EUR\n", "line 4: it moves nothing"),
            ("02.01.2026;;;;1,00;USD\n", "line 4: it is in \"USD\""),
            ("02.01.2026;a;b;;;1,00;EUR\n", "line 4: it has 7 fields, and the heading 6"),
            ("02.01.2026;a;b;;1,00\n", "line 4: it has 5 fields, and the heading 6"),
        ] {
            let told = read(&format!("{head}{rows}"), &german(), &euro()).unwrap_err().to_string();
            assert!(told.contains(at), "{rows}: {told}");
        }
        let told = read("a\nb\nBuchungstag;Name\n", &german(), &euro()).unwrap_err().to_string();
        assert!(told.contains("line 3: there is no column \"Betrag\""), "{told}");
        assert!(read("", &german(), &euro()).is_err());
        for bad in [
            r#"{"date":"d"}"#,
            r#"{"date":"d","amount":"a","in":"i"}"#,
            r#"{"date":"d","amount":"a","delimiter":";;"}"#,
            r#"{"date":"d","amount":"a","thousands":"."}"#,
        ] {
            let mapping: Mapping = serde_json::from_str(bad).unwrap();
            assert!(mapping.validate().is_err(), "{bad}");
        }
        assert_eq!(german().validate(), Ok(()));
    }
}
