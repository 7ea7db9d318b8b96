//! CSV (RFC 4180): entries, or the chart, with a heading line that names the columns, in any order.

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::document::{Booking, Document, Leg, Placed};
use super::fault::{Faults, Found};
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::json;
use crate::metadata::Metadata;
use crate::transfer::TransferKind;
use crate::when;

/// Columns of entries. Three of the first four say what the ledger that wrote them knows; another has its own, so they are
/// read and not booked. Of kinds those are booked that move money. Rows with the same `transfer` that follow each other are one.
pub const ENTRIES: [&str; 12] = [
    "entry",
    "kind",
    "booked_at",
    "transfer",
    "effective_date",
    "description",
    "account",
    "direction",
    "amount",
    "currency",
    "key",
    "metadata",
];
const ENTRIES_NEEDED: [&str; 6] =
    ["transfer", "effective_date", "account", "direction", "amount", "currency"];
/// Columns of the chart; `scale` is the currency's.
pub const ACCOUNTS: [&str; 6] = ["code", "name", "currency", "scale", "normal_balance", "metadata"];
const ACCOUNTS_NEEDED: [&str; 3] = ["code", "currency", "normal_balance"];

/// The rows of a text, by the names of its columns.
struct Table {
    columns: HashMap<String, usize>,
    rows: Vec<(usize, StringRecord)>,
}

impl Table {
    fn read(text: &str, known: &[&str], needed: &[&str], found: &mut Found) -> Self {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::None)
            .from_reader(text.as_bytes());
        let mut table = Self { columns: HashMap::new(), rows: Vec::new() };
        let mut width = None;
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(1, csv::Position::line);
                    found.at(usize::try_from(line).unwrap_or(1), error.to_string());
                    continue;
                }
            };
            let line = record.position().map_or(1, csv::Position::line);
            let line = usize::try_from(line).unwrap_or(1);
            match width {
                None => {
                    width = Some(record.len());
                    table.head(line, &record, known, needed, found);
                }
                Some(width) if record.len() != width => {
                    let count = record.len();
                    found.at(line, format!("it has {count} fields, and the heading {width}"));
                }
                Some(_) => table.rows.push((line, record)),
            }
        }
        if width.is_none() {
            found.at(1, format!("the heading line is missing: {}", known.join(",")));
        }
        table
    }

    fn head(
        &mut self,
        line: usize,
        record: &StringRecord,
        known: &[&str],
        needed: &[&str],
        found: &mut Found,
    ) {
        for (place, name) in record.iter().enumerate() {
            if !known.contains(&name) {
                found.at(
                    line,
                    format!("there is no column {name:?}; those there are: {}", known.join(", ")),
                );
            } else if self.columns.insert(name.to_owned(), place).is_some() {
                found.at(line, format!("the column {name} is there twice"));
            }
        }
        for name in needed.iter().filter(|name| !self.columns.contains_key(**name)) {
            found.at(line, format!("the column {name} is missing"));
        }
    }

    fn field<'a>(&self, record: &'a StringRecord, name: &str) -> &'a str {
        self.columns.get(name).and_then(|place| record.get(*place)).unwrap_or_default()
    }
}

fn metadata(text: &str) -> Result<Metadata, String> {
    if text.is_empty() {
        return Ok(Metadata::default());
    }
    let read: Metadata = serde_json::from_str(text)
        .map_err(|error| format!("metadata is no JSON object of strings: {error}"))?;
    read.validate().map_err(|error| error.to_string())?;
    Ok(read)
}

fn side(text: &str) -> Result<Side, String> {
    Side::from_word(text).ok_or_else(|| format!("{text:?} is neither debit nor credit"))
}

/// Reads entries.
pub fn read_entries(text: &str) -> Result<Document, Faults> {
    let mut found = Found::default();
    let table = Table::read(text, &ENTRIES, &ENTRIES_NEEDED, &mut found);
    let mut document = Document::default();
    let mut group: Option<(String, Vec<&str>)> = None;
    for (line, record) in &table.rows {
        let line = *line;
        let field = |name: &str| table.field(record, name);
        let shared =
            vec![field("effective_date"), field("description"), field("key"), field("metadata")];
        let _ = found.or_note(line, moves(field("kind")));
        let leg = found.or_note(line, leg(line, &field));
        let same = group.as_ref().is_some_and(|(transfer, _)| transfer == field("transfer"));
        if same {
            let differs = group.as_ref().is_some_and(|(_, first)| *first != shared);
            if differs {
                found.at(line, "date, description, key and metadata are the transfer's, and differ from the line above");
            }
            if let (Some(leg), Some(last)) = (leg, document.bookings.last_mut()) {
                last.it.legs.push(leg);
            }
            continue;
        }
        if field("transfer").is_empty() {
            found.at(line, "transfer is empty: it says which entries belong together");
        }
        let date = when::day(field("effective_date"))
            .ok_or_else(|| format!("effective_date: {}", when::DAY));
        let date = found.or_note(line, date).unwrap_or_default();
        let metadata = found.or_note(line, metadata(field("metadata"))).unwrap_or_default();
        let key = Some(field("key").to_owned()).filter(|key| !key.is_empty());
        let description = field("description").to_owned();
        let it = Booking { key, date, description, metadata, legs: leg.into_iter().collect() };
        document.bookings.push(Placed { line, it });
        group = Some((field("transfer").to_owned(), shared));
    }
    for booking in document.bookings.iter().filter(|booking| booking.it.legs.len() < 2) {
        found.at(booking.line, "a transfer needs at least two entries, one line below the other");
    }
    found.end(document)
}

/// Whether a transfer of the kind is one that is booked here, as a transfer: what was followed is not there.
fn moves(kind: &str) -> Result<(), String> {
    match TransferKind::from_word(kind) {
        _ if kind.is_empty() => Ok(()),
        Some(known) if known.moves() => Ok(()),
        Some(_) => {
            Err(format!("a transfer of kind {kind} moves nothing and is not booked; take it out"))
        }
        None => Err(format!(
            "{kind:?} is no kind of transfer; those booked are transfer, post and reverse"
        )),
    }
}

fn leg<'a>(line: usize, field: &impl Fn(&str) -> &'a str) -> Result<Leg, String> {
    Ok(Leg {
        line,
        account: field("account").to_owned(),
        direction: side(field("direction"))?,
        amount: field("amount")
            .parse()
            .map_err(|error: crate::money::AmountError| error.to_string())?,
        currency: field("currency").to_owned(),
    })
}

/// Reads a chart.
pub fn read_accounts(text: &str) -> Result<Document, Faults> {
    let mut found = Found::default();
    let table = Table::read(text, &ACCOUNTS, &ACCOUNTS_NEEDED, &mut found);
    let mut document = Document::default();
    let mut scales: HashMap<String, u8> = HashMap::new();
    for (line, record) in &table.rows {
        let line = *line;
        let field = |name: &str| table.field(record, name);
        let Some(normal_balance) = found.or_note(line, side(field("normal_balance"))) else {
            continue;
        };
        let Some(metadata) = found.or_note(line, metadata(field("metadata"))) else { continue };
        let (code, currency) = (field("code").to_owned(), field("currency").to_owned());
        let name = Some(field("name")).filter(|name| !name.is_empty()).unwrap_or(&code).to_owned();
        let it = AccountBody { code, name, currency: currency.clone(), normal_balance, metadata };
        found.or_note(line, it.validate());
        if document.accounts.iter().any(|other: &Placed<AccountBody>| other.it.code == it.code) {
            found.at(line, format!("the account {} is there twice", it.code));
        }
        document.accounts.push(Placed { line, it });
        let scale = field("scale");
        if scale.is_empty() {
            continue;
        }
        let Some(scale) = scale.parse().ok().filter(|scale| *scale <= crate::money::SCALE_MAX)
        else {
            found.at(line, "scale is a number of decimals, 0 to 12");
            continue;
        };
        match scales.insert(currency.clone(), scale) {
            Some(other) if other != scale => {
                found.at(line, format!("{currency} has a scale of {other} above"));
            }
            Some(_) => {}
            None => {
                let it = CurrencyBody { code: currency, scale };
                found.or_note(line, it.validate());
                document.currencies.push(Placed { line, it });
            }
        }
    }
    found.end(document)
}

/// A field between quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn object(metadata: &Metadata) -> String {
    if metadata.is_empty() {
        return String::new();
    }
    quoted(&json::written(metadata))
}

/// The heading of entries.
pub fn entries_heading() -> String {
    "entry,transfer,kind,booked_at,effective_date,description,account,direction,amount,currency,key,metadata\r\n".into()
}

/// What the ledger that writes a transfer knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub first_entry: i64,
    pub transfer: &'a str,
    pub kind: &'a str,
    pub booked_at: &'a str,
}

/// A transfer's entries, a line each.
pub fn booking(booking: &Booking, known: Known<'_>) -> String {
    let mut text = String::new();
    let Known { first_entry, transfer, kind, booked_at } = known;
    for (entry, leg) in (first_entry..).zip(&booking.legs) {
        let Leg { account, direction, amount, currency, .. } = leg;
        // Of all fields these alone are a person's text.
        let description = quoted(&booking.description);
        let key = booking.key.as_deref().map(quoted).unwrap_or_default();
        let (date, metadata) = (booking.date, object(&booking.metadata));
        text.push_str(&format!(
            "{entry},{transfer},{kind},{booked_at},{date},{description},{account},{direction},{amount},{currency},{key},{metadata}\r\n"
        ));
    }
    text
}

/// The chart, a line for each account.
pub fn chart(currencies: &[CurrencyBody], accounts: &[AccountBody]) -> String {
    let scales: HashMap<&str, u8> =
        currencies.iter().map(|currency| (currency.code.as_str(), currency.scale)).collect();
    let mut text = "code,name,currency,scale,normal_balance,metadata\r\n".to_owned();
    for account in accounts {
        let AccountBody { code, name, currency, normal_balance, metadata } = account;
        let scale = scales.get(currency.as_str()).map(u8::to_string).unwrap_or_default();
        let (name, metadata) = (quoted(name), object(metadata));
        text.push_str(&format!("{code},{name},{currency},{scale},{normal_balance},{metadata}\r\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_at_their_lines() {
        let head = "transfer,effective_date,account,direction,amount,currency";
        for (rows, at) in [
            ("", "line 1: "),
            ("1,2026-01-01,a,debit,1,EUR\n", "line 2: a transfer needs at least two"),
            (
                "1,2026-01-01,a,debit,1,EUR\n1,2026-01-02,b,credit,1,EUR\n",
                "line 3: date, description",
            ),
            (
                "1,2026-01-01,a,left,1,EUR\n1,2026-01-01,b,credit,1,EUR\n",
                "line 2: \"left\" is neither",
            ),
            ("1,1.1.2026,a,debit,1,EUR\n1,1.1.2026,b,credit,1,EUR\n", "line 2: effective_date"),
            ("1,2026-01-01,a,debit,1e3,EUR\n", "line 2: amount"),
            ("1,2026-01-01,a\n", "line 2: it has 3 fields, and the heading 6"),
        ] {
            let text = if rows.is_empty() { String::new() } else { format!("{head}\n{rows}") };
            let told = read_entries(&text).unwrap_err().to_string();
            assert!(told.contains(at), "{rows}: {told}");
        }
        let told = read_entries("transfer,colour\n").unwrap_err().to_string();
        assert!(
            told.contains("no column \"colour\"") && told.contains("column amount is missing"),
            "{told}"
        );
        let told = read_accounts(
            "code,currency,normal_balance,scale\na,EUR,debit,2\nb,EUR,debit,3\na,EUR,up,2\n",
        );
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains("line 3: EUR has a scale of 2") && told.contains("line 4: "),
            "{told}"
        );
    }
}
