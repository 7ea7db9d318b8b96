//! The journal format of ledger-cli and hledger (Ledger manual 4 and 5; hledger's journal): `account`, `commodity` and plain
//! transactions, both ways.

mod amounts;
mod codes;
mod tags;

use std::borrow::Cow;

use jiff::civil::Date;

use self::amounts::{Marks, amount};
use self::codes::Codes;
use self::tags::{add_tag, in_a_comment, tag, take_whole, write_tags};
use super::document::{Booking, Document, LeftOut, Placed};
use super::fault::{Faults, Found};
use super::legs::{Open, TOO_FEW, complete, usual_side};
use super::lines::{Block, Line, Named, blocks};
use super::own::OWN;
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::when;

const UNTAGGED: &str =
    "an entry has no tags of its own; give them to the transfer, above the first entry";

/// Reads a text; directives named in `left_out` are passed over.
pub fn read(text: &str, left_out: &LeftOut) -> Result<Document, Faults> {
    let (mut found, mut document) = (Found::default(), Document::default());
    let (mut codes, mut marks) = (Codes::default(), Marks::default());
    for block in &blocks(&uncommented(text)) {
        let head = block.head;
        if head.text.starts_with([';', '#', '%', '|', '*']) {
            for line in block.below.iter().filter(|line| !is_comment(line.text)) {
                found.at(line.number, "it belongs to no directive");
            }
            continue;
        }
        let (word, rest) = head.text.split_once([' ', '\t']).unwrap_or((head.text, ""));
        // What says how numbers are written is heard even where it is left out.
        let written = match word {
            "commodity" | "D" => formats(block, rest, &mut marks),
            "decimal-mark" => marks.decimal_mark(rest),
            _ => Ok(()),
        };
        if found.or_note(head.number, written).is_none() {
            continue;
        }
        match word {
            _ if is_scoped(word) => found.at(head.number, scoped(word)),
            "decimal-mark" => {}
            _ if left_out.contains(word) => {}
            "account" => account(block, rest.trim(), &mut codes, &mut document, &mut found),
            "commodity" => commodity(block, rest.trim(), &mut document, &mut found),
            _ => match date(word) {
                Some(day) => {
                    transaction(block, day, rest, (&mut codes, &marks), &mut document, &mut found);
                }
                None => {
                    let word: String = word.chars().take(40).collect();
                    found.at(head.number, format!("a ledger cannot keep {word:?}; take it out, or leave it out with --leave-out {word}"));
                }
            },
        }
    }
    found.end(document)
}

/// A currency and how its amounts are written, on the line or below it.
fn formats(block: &Block<'_>, rest: &str, marks: &mut Marks) -> Result<(), String> {
    marks.format(rest)?;
    block.below.iter().filter_map(|line| format_of(*line)).try_for_each(|it| marks.format(it))
}

fn format_of(line: Line<'_>) -> Option<&str> {
    line.text.trim_start().strip_prefix("format").filter(|rest| rest.starts_with([' ', '\t']))
}

/// The text without its comment blocks, whose lines are left empty so that all others keep their numbers. One that is not
/// ended goes to the end of the text, as it does for the programs that write them.
fn uncommented(text: &str) -> Cow<'_, str> {
    let opens = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        line.starts_with(word) && matches!(directive(word), "comment" | "test")
    };
    if !text.lines().any(opens) {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut within) = (String::with_capacity(text.len()), false);
    for line in text.lines() {
        let closes = line.starts_with("end comment") || line.starts_with("end test");
        if within || opens(line) {
            within = !closes;
        } else {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    Cow::Owned(kept)
}

/// A directive's word; ledger-cli takes a sign in front of it.
fn directive(word: &str) -> &str {
    word.strip_prefix(['!', '@']).unwrap_or(word)
}

/// Whether a directive says what others mean: without it they would be booked as what they are not.
fn is_scoped(word: &str) -> bool {
    matches!(directive(word), "apply" | "end" | "alias" | "capture")
        || (directive(word) != word && word.len() > 1)
}

fn scoped(word: &str) -> String {
    let word: String = word.chars().take(40).collect();
    format!(
        "{word:?} changes what other lines mean, so it is neither kept nor left out; write out what it does, as `hledger print` or `ledger print` do"
    )
}

fn is_comment(text: &str) -> bool {
    text.trim_start().starts_with(';')
}

/// `2026-11-21`, and the same with `/` or `.`.
fn date(word: &str) -> Option<Date> {
    let separated = word.replace(['/', '.'], "-");
    let mut parts = separated.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    when::day(&format!("{year}-{month:0>2}-{day:0>2}")).filter(|_| parts.next().is_none())
}

fn named(block: &Block<'_>, found: &mut Found) -> Named {
    let mut named = Named::default();
    for line in &block.below {
        match line.text.trim_start().split_once([' ', '\t']) {
            _ if is_comment(line.text) => add_tag(&mut named, *line, found),
            Some(("note", text)) => {
                named.add(line.number, "forebay-name", text.trim().to_owned(), found);
            }
            _ => found
                .at(line.number, "only a note and tags may stand here, such as ; customer: 4711"),
        }
    }
    named
}

fn account(
    block: &Block<'_>,
    name: &str,
    codes: &mut Codes,
    document: &mut Document,
    found: &mut Found,
) {
    let line = block.head.number;
    let mut named = named(block, found);
    let code = named.take("code").unwrap_or_else(|| name.to_ascii_lowercase());
    let side = match named.take("normal") {
        None => usual_side(name),
        Some(word) => Side::from_word(&word),
    };
    let Some(normal_balance) = side else {
        found.at(
            line,
            format!(
                "on which side {name} grows is not clear; add ; forebay-normal: debit or credit"
            ),
        );
        return;
    };
    let Some(currency) = named.take("currency") else {
        found.at(
            line,
            format!("which currency {name} holds is not said; add ; forebay-currency: EUR"),
        );
        return;
    };
    let called = named.take("name").unwrap_or_else(|| name.to_owned());
    let called = match called.starts_with('"') {
        true => serde_json::from_str(&called).unwrap_or(called),
        false => called,
    };
    take_whole(&mut named, line, found);
    let metadata = named.rest(line, found);
    let it = AccountBody { code, name: called, currency, normal_balance, metadata };
    if document.accounts.iter().any(|other| other.it.code == it.code) {
        found.at(line, format!("the account {} is declared twice", it.code));
    } else if found.or_note(line, it.validate()).is_some()
        && found.or_note(line, codes.declare(name, &it.code)).is_some()
    {
        document.accounts.push(Placed { line, it });
    }
}

fn commodity(block: &Block<'_>, name: &str, document: &mut Document, found: &mut Found) {
    let line = block.head.number;
    let below = block.below.iter().copied().filter(|line| format_of(*line).is_none()).collect();
    let mut named = named(&Block { head: block.head, below }, found);
    let scale = named.take("scale");
    if !named.rest(line, found).is_empty() {
        found.at(line, "a currency here has no tags");
    }
    // One without a scale says nothing that is not known.
    let Some(scale) = scale else { return };
    let Some(scale) = scale.parse().ok().filter(|scale| *scale <= crate::money::SCALE_MAX) else {
        found.at(line, format!("{OWN}scale is a number of decimals, 0 to 12"));
        return;
    };
    let it = CurrencyBody { code: name.trim_matches('"').to_owned(), scale };
    if found.or_note(line, it.validate()).is_some() {
        document.currencies.push(Placed { line, it });
    }
}

fn transaction(
    block: &Block<'_>,
    date: Date,
    rest: &str,
    (codes, marks): (&mut Codes, &Marks),
    document: &mut Document,
    found: &mut Found,
) {
    let head = block.head;
    let mut named = Named::default();
    let (rest, comment) = match rest.split_once(';') {
        Some((rest, comment)) => (rest.trim(), comment),
        None => (rest.trim(), ""),
    };
    add_tag(&mut named, Line { number: head.number, text: comment }, found);
    if rest.starts_with('!') {
        found.at(head.number, "a transaction that is pending (!) is not sure yet, and what is booked is; settle it or make it *");
    }
    let mut description = rest.trim_start_matches('*').trim_start();
    if let Some((code, behind)) =
        description.strip_prefix('(').and_then(|text| text.split_once(')'))
    {
        named.add(head.number, "code", code.trim().to_owned(), found);
        description = behind.trim_start();
    }
    let (mut legs, mut postings) = (Vec::new(), 0);
    for line in &block.below {
        if !is_comment(line.text) {
            postings += 1;
            legs.extend(found.or_note(line.number, posting(*line, codes, marks)));
        } else if legs.is_empty() {
            add_tag(&mut named, *line, found);
        } else {
            match tag(line.text) {
                Ok(None) => {}
                Ok(Some(_)) => found.at(line.number, UNTAGGED),
                Err(why) => found.at(line.number, why),
            }
        }
    }
    if postings < 2 {
        found.at(head.number, TOO_FEW);
    }
    let description = match named.take("description") {
        None => description.to_owned(),
        Some(json) => match serde_json::from_str(&json) {
            Ok(text) => text,
            Err(error) => {
                found.at(head.number, format!("{OWN}description is no JSON string: {error}"));
                String::new()
            }
        },
    };
    let key = named.take("key");
    take_whole(&mut named, head.number, found);
    let metadata = named.rest(head.number, found);
    let legs = complete(legs, found);
    let it = Booking { key, date, description, metadata, legs };
    document.bookings.push(Placed { line: head.number, it });
}

fn posting(line: Line<'_>, codes: &mut Codes, marks: &Marks) -> Result<Open, String> {
    let text = line.text.trim();
    if text.starts_with(['(', '[', '*', '!']) {
        return Err("entries are neither virtual nor flagged here".into());
    }
    let (text, comment) = match text.split_once(';') {
        Some((text, comment)) => (text.trim_end(), comment),
        None => (text, ""),
    };
    if tag(comment)?.is_some() {
        return Err(UNTAGGED.into());
    }
    // Two spaces, or a tab, end a name.
    let end = text.find("  ").into_iter().chain(text.find('\t')).min().unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let account = codes.code(name)?;
    let amount = amount(rest.trim(), marks)?;
    Ok(Open { line: line.number, account, amount })
}

/// The chart as directives.
pub fn chart(currencies: &[CurrencyBody], accounts: &[AccountBody]) -> String {
    let mut text = String::new();
    for currency in currencies {
        text.push_str(&format!(
            "commodity \"{}\"\n    ; {OWN}scale: {}\n",
            currency.code, currency.scale
        ));
    }
    for account in accounts {
        let AccountBody { code, name, currency, normal_balance, metadata } = account;
        text.push_str(&format!("account {code}\n    ; {OWN}currency: {currency}\n"));
        // What would be read otherwise than it is stands between quotes.
        let written = match name.trim() == name && !name.starts_with('"') {
            true => name.clone(),
            false => in_a_comment(name),
        };
        text.push_str(&format!("    ; {OWN}name: {written}\n"));
        if usual_side(code) != Some(*normal_balance) {
            text.push_str(&format!("    ; {OWN}normal: {normal_balance}\n"));
        }
        write_tags(&mut text, metadata);
    }
    text
}

/// A transfer as a transaction. Debits are positive.
pub fn booking(booking: &Booking) -> String {
    let Booking { key, date, description, metadata, legs } = booking;
    let plain = is_plain(description);
    let mut text = match plain {
        true => format!("{date} * {description}\n"),
        false => {
            let json = in_a_comment(description);
            format!("{date} * transfer\n    ; {OWN}description: {json}\n")
        }
    };
    if let Some(key) = key {
        text.push_str(&format!("    ; {OWN}key: {key}\n"));
    }
    write_tags(&mut text, metadata);
    for leg in legs {
        let sign = if leg.direction == Side::Debit { "" } else { "-" };
        // A currency with digits in it would read as a part of the number.
        text.push_str(&format!("    {}  {sign}{} \"{}\"\n", leg.account, leg.amount, leg.currency));
    }
    text
}

/// Whether a description means nothing but itself behind a date.
fn is_plain(description: &str) -> bool {
    !description.is_empty()
        && description.trim() == description
        && !description.contains(';')
        && !description.starts_with(['*', '!', '(', '='])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_file_is_read() {
        let text = "; mine\naccount Assets:Cash In Hand\n    note Cash\n    ; forebay-code: assets:cash\n    ; forebay-currency: EUR\n\nP 2026-01-01 USD 0.9 EUR\n2026/2/1 * (42) Grocer  ; Project: 7\n    ; bought in a hurry\n    Expenses:Food\t\tEUR 12.50\n    Assets:Cash In Hand\n";
        let left_out = ["P".to_owned()].into();
        let document = read(text, &left_out).unwrap();
        let booking = &document.bookings[0].it;
        assert_eq!(
            (booking.description.as_str(), booking.date.to_string().as_str()),
            ("Grocer", "2026-02-01")
        );
        assert_eq!(
            (booking.metadata.0["code"].as_str(), booking.metadata.0["project"].as_str()),
            ("42", "7")
        );
        assert_eq!(
            (booking.legs[0].account.as_str(), booking.legs[1].direction),
            ("expenses:food", Side::Credit)
        );
    }

    #[test]
    fn what_is_commented_out_is_not_booked() {
        let hidden = "2026-01-01 x\n  a:b  999.00 EUR\n  c:d\n";
        for (open, close) in [
            ("comment", "end comment"),
            ("comment of mine", "end comment"),
            ("test x", "end test"),
            ("!comment", "end comment"),
        ] {
            let shown = "2026-01-02 y\n  a:b  1 EUR\n  c:d\nprice\n";
            let text = format!("{open}\n{hidden}not even a journal\n\n{close}\n{shown}");
            let left_out = ["price", "comment", "end"].map(str::to_owned).into();
            let document = read(&text, &left_out).unwrap();
            assert_eq!(document.bookings.len(), 1, "{text}");
            assert_eq!((document.bookings[0].line, document.bookings[0].it.legs[0].line), (8, 9));
            let told = read(&text, &LeftOut::new()).unwrap_err().to_string();
            assert!(told.starts_with("line 11: ") && told.lines().count() == 1, "{told}");
        }
        let rest = format!("2026-01-02 y\n  a:b  1 EUR\n  c:d\ncomment\n{hidden}");
        assert_eq!(read(&rest, &LeftOut::new()).unwrap().bookings.len(), 1);
    }

    #[test]
    fn commas_are_read_as_the_program_that_wrote_them_does() {
        let entry = "2026-01-01 x\n  a:b  1,500 KWD\n  c:d\n";
        let every = ["commodity", "D", "decimal-mark"].map(str::to_owned).into();
        for head in [
            "commodity 1.000,000 KWD\n",
            "commodity KWD\n  format 1.000,000 KWD\n",
            "D 1.000,00 KWD\n",
            "decimal-mark ,\n",
        ] {
            // By these 1.500 is a thousand and a half.
            for entry in [entry.to_owned(), entry.replace(',', ".")] {
                for left_out in [&every, &LeftOut::new()] {
                    let told = read(&format!("{head}{entry}"), left_out).unwrap_err().to_string();
                    assert!(told.starts_with("line 1: decimals stand behind a point"), "{told}");
                }
            }
        }
        for head in [
            "commodity 1,000.000 KWD\n",
            "commodity KWD\n  format 1,000.000 KWD\n",
            "D 1,000.00 KWD\n",
            "decimal-mark .\n",
        ] {
            let read = read(&format!("{head}{entry}"), &["D".to_owned()].into()).unwrap();
            assert_eq!(read.bookings[0].it.legs[0].amount.to_string(), "1500", "{head}");
        }
        let told = read(entry, &LeftOut::new()).unwrap_err().to_string();
        assert!(
            told.contains("line 2: 1,500 is 1500 to ledger-cli and 1.500 to hledger"),
            "{told}"
        );
    }

    #[test]
    fn what_changes_the_meaning_of_others_is_not_left_out() {
        let entry = "2026-01-01 x\n  a:b  1 EUR\n  c:d\n";
        for (text, at) in [
            (format!("apply account x\n{entry}end apply account\n"), "apply"),
            (format!("alias a=e\n{entry}end aliases\n"), "alias"),
            (format!("!account x\n{entry}!end\n"), "!account"),
            (format!("{entry}end comment\n"), "end"),
        ] {
            let left_out = ["apply", "alias", "end", "!account", "!end"].map(str::to_owned).into();
            for left_out in [left_out, LeftOut::new()] {
                let told = read(&text, &left_out).unwrap_err().to_string();
                assert!(told.contains(&format!("{at:?} changes what other")), "{told}");
                assert!(!told.contains("--leave-out"), "{told}");
            }
        }
    }

    #[test]
    fn what_cannot_be_kept_is_told_at_its_line() {
        for (text, at) in [
            ("P 2026-01-01 USD 0.9 EUR\n", "line 1: a ledger cannot keep \"P\""),
            ("= /food/\n  (a)  1\n", "line 1: "),
            ("2026-01-01 ! x\n  a:b  1 EUR\n  c:d\n", "line 1: a transaction that is pending"),
            (
                "2026-01-01 x\n  (a:b)  1 EUR\n  c:d  -1 EUR\n",
                "line 2: entries are neither virtual",
            ),
            ("2026-01-01 x\n  a:b  1 EUR @ 2 USD\n  c:d\n", "line 2: an entry here has no price"),
            ("2026-01-01 x\n  a:b  1 EUR = 5 EUR\n  c:d\n", "line 2: an entry here has no price"),
            ("2026-01-01 x\n  a:b  1 EUR ; k: v\n  c:d\n", "line 2: an entry has no tags"),
            ("2026-01-01 x\n  a:b  1 EUR\n  ; k: v\n  c:d\n", "line 3: an entry has no tags"),
            (
                "2026-01-01 x\n  ; :a:b:\n  a:b  1 EUR\n  c:d\n",
                "line 2: a transfer has no tags without",
            ),
            (
                "2026-01-01 x\n  A:b  1 EUR\n  a:B  -1 EUR\n",
                "line 3: a:B and A:b would both be the account a:b",
            ),
            (
                "2026-01-01 x\n  ; a: 1, b: 2\n  a:b  1 EUR\n  c:d\n",
                "line 2: b is a tag of its own to hledger",
            ),
            ("2026-01-01 x\n  a:b  1 EUR ; k:v\n  c:d\n", "line 2: an entry has no tags"),
            ("2026-01-01 x\n  Cash On Hand  1 EUR\n  c:d\n", "line 2: account code"),
            ("2026-01-01=2026-01-02 x\n  a:b  1 EUR\n  c:d\n", "line 1: a ledger cannot keep"),
            ("account a:b\n", "line 1: on which side"),
            ("2026-01-01 x\n  a:b  1\n  c:d\n", "line 2: "),
        ] {
            let told = read(text, &LeftOut::new()).unwrap_err().to_string();
            assert!(told.contains(at), "{text}: {told}");
        }
    }
}
