//! beancount's text (its language syntax, version 2 and 3): `open`, `commodity` and transactions, both ways. Accounts have
//! names of their own there; a code that does not follow from the name is given beside it.

mod names;
mod tokens;

use std::collections::BTreeMap;

use jiff::civil::Date;

pub use self::names::Names;
use self::tokens::{Token, quoted, tokens};
use super::document::{Booking, Document, LeftOut, Placed};
use super::fault::{Faults, Found};
use super::legs::{Open, TOO_FEW, complete, signed_amount, usual_side};
use super::lines::{Block, Line, Named, blocks};
use super::own::{OWN, Unwritable};
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::json;
use crate::metadata::Metadata;
use crate::when;

/// Of an export's own: names with values that beancount has no names for. There they have two letters or more, begin with one
/// and have no point.
const OTHERS: &str = "metadata";
/// Days that beancount has: its language writes years of these centuries.
const DAYS: [Date; 2] = [jiff::civil::date(1700, 1, 1), jiff::civil::date(2099, 12, 31)];

/// The nearest day that beancount has.
fn shown(day: Date) -> Date {
    day.clamp(DAYS[0], DAYS[1])
}

/// Reads a text; directives named in `left_out` are passed over.
pub fn read(text: &str, left_out: &LeftOut) -> Result<Document, Faults> {
    let (mut found, mut document) = (Found::default(), Document::default());
    let mut names = Names::default();
    let blocks = blocks(text);
    // Transactions may stand before the directive that opens their accounts.
    for block in &blocks {
        if let Some(("open", _)) = dated(block.head).map(|(_, word, rest)| (word, rest)) {
            account(block, &mut names, &mut document, &mut found);
        }
    }
    for block in &blocks {
        let head = block.head;
        if head.text.starts_with([';', '*', '#', ':', '!', '&', '?', '%']) {
            // Headings of outlines and comments are no directives.
            indented_below_nothing(block, &mut found);
            continue;
        }
        let Some((date, word, rest)) = dated(head) else {
            let word = head.text.split_whitespace().next().unwrap_or_default();
            if !left_out.contains(word) {
                found.at(head.number, unknown(word));
            }
            continue;
        };
        match word {
            // Read above.
            "open" => {}
            _ if left_out.contains(word) => {}
            "commodity" => commodity(block, rest, &mut document, &mut found),
            "*" | "txn" => transaction(block, date, rest, &names, left_out, &mut document, &mut found),
            "!" => found.at(head.number, "a transaction that is flagged (!) is not sure yet, and what is booked is; settle it or make it *"),
            _ => found.at(head.number, unknown(word)),
        }
    }
    found.end(document)
}

fn unknown(word: &str) -> String {
    let word: String = word.chars().take(40).collect();
    format!("a ledger cannot keep {word:?}; take it out, or leave it out with --leave-out {word}")
}

fn indented_below_nothing(block: &Block<'_>, found: &mut Found) {
    for line in &block.below {
        if !line.text.trim_start().starts_with(';') {
            found.at(line.number, "it belongs to no directive");
        }
    }
}

/// The date, the word behind it and the rest of a line.
fn dated(line: Line<'_>) -> Option<(Date, &str, &str)> {
    let (date, rest) = line.text.split_once([' ', '\t'])?;
    let date = when::day(&date.replace('/', "-"))?;
    let rest = rest.trim_start();
    let (word, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    Some((date, word, rest))
}

/// What is below a directive that has nothing but metadata there.
fn named(block: &Block<'_>, found: &mut Found) -> Named {
    let mut named = Named::default();
    for line in &block.below {
        match metadata(*line) {
            Some(Ok((name, value))) => named.add(line.number, name, value, found),
            Some(Err(why)) => found.at(line.number, why),
            None if line.text.trim_start().starts_with(';') => {}
            None => {
                found.at(line.number, "only metadata may stand here, such as customer: \"4711\"");
            }
        }
    }
    named
}

/// `name: value`.
fn metadata(line: Line<'_>) -> Option<Result<(&str, String), String>> {
    let text = line.text.trim_start();
    let (name, value) = text.split_once(':')?;
    let shaped = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !shaped || !(value.is_empty() || value.starts_with([' ', '\t', '"'])) {
        return None;
    }
    Some(tokens(value).and_then(|found| match found.as_slice() {
        [Token::Text(value) | Token::Word(value)] => Ok((name, value.clone())),
        [] => Err(format!("{name} has no value")),
        [Token::Word(number), Token::Word(currency)] => Ok((name, format!("{number} {currency}"))),
        _ => Err(format!("the value of {name} is more than one")),
    }))
}

fn account(block: &Block<'_>, names: &mut Names, document: &mut Document, found: &mut Found) {
    let line = block.head.number;
    let Some((_, _, rest)) = dated(block.head) else { return };
    let Some(words) = found.or_note(line, tokens(rest)) else { return };
    let mut named = named(block, found);
    let (name, currency) = match words.as_slice() {
        [Token::Word(name), Token::Word(currency)] => (name, currency.clone()),
        [Token::Word(name)] => match named.take("currency") {
            Some(currency) => (name, currency),
            None => {
                found.at(line, format!("{name} is opened without a currency; an account here holds exactly one: 2026-01-01 open {name} EUR"));
                return;
            }
        },
        _ => {
            found.at(line, "an account here has one currency and no booking method: 2026-01-01 open Assets:Cash EUR");
            return;
        }
    };
    let held = CurrencyBody { code: currency.clone(), scale: 0 };
    if found.or_note(line, held.validate()).is_none() {
        return;
    }
    let code = named.take("code").unwrap_or_else(|| name.to_ascii_lowercase());
    if let Err(why) = names.add(name, &code) {
        found.at(line, why);
        return;
    }
    let normal = match named.take("normal") {
        None => usual_side(name),
        Some(word) => Side::from_word(&word),
    };
    let Some(normal_balance) = normal else {
        found.at(line, format!("on which side {name} grows is not clear; add forebay-normal: \"debit\" or \"credit\""));
        return;
    };
    let opened = named.take("name").unwrap_or_else(|| name.clone());
    let metadata = rest_of(named, line, found);
    let it = AccountBody { code, name: opened, currency, normal_balance, metadata };
    if found.or_note(line, it.validate()).is_some() {
        document.accounts.push(Placed { line, it });
    }
}

fn commodity(block: &Block<'_>, rest: &str, document: &mut Document, found: &mut Found) {
    let line = block.head.number;
    let mut named = named(block, found);
    let scale = named.take("scale");
    if !named.rest(line, found).is_empty() {
        found.at(line, "a currency here has no metadata");
    }
    let Some(words) = found.or_note(line, tokens(rest)) else { return };
    let [Token::Word(code)] = words.as_slice() else {
        found.at(line, "a commodity has one name");
        return;
    };
    // One without a scale says nothing that is not known.
    let Some(scale) = scale else { return };
    let Some(scale) = scale.parse().ok().filter(|scale| *scale <= crate::money::SCALE_MAX) else {
        found.at(line, format!("{OWN}scale is a number of decimals, 0 to 12"));
        return;
    };
    let it = CurrencyBody { code: code.clone(), scale };
    if found.or_note(line, it.validate()).is_some() {
        document.currencies.push(Placed { line, it });
    }
}

fn transaction(
    block: &Block<'_>,
    date: Date,
    rest: &str,
    names: &Names,
    left_out: &LeftOut,
    document: &mut Document,
    found: &mut Found,
) {
    let line = block.head.number;
    let Some(words) = found.or_note(line, tokens(rest)) else { return };
    let (mut texts, mut named) = (Vec::new(), Named::default());
    for word in words {
        match word {
            Token::Text(text) => texts.push(text),
            Token::Word(word) if word.starts_with('#') && left_out.contains("tags") => {}
            Token::Word(word) if word.starts_with('^') && left_out.contains("links") => {}
            Token::Word(word) if word.starts_with(['#', '^']) => {
                let sort = if word.starts_with('#') { "tags" } else { "links" };
                found.at(line, format!("a transfer has no {sort}; make {word} metadata, or leave them out with --leave-out {sort}"));
            }
            Token::Word(word) => found.at(line, format!("{word:?} is not understood here")),
        }
    }
    let description = texts.pop().unwrap_or_default();
    if let Some(payee) = texts.pop() {
        named.add(line, "payee", payee, found);
    }
    if !texts.is_empty() {
        found.at(line, "there are more texts than payee and narration");
    }
    let (mut legs, mut postings) = (Vec::new(), 0);
    for below in &block.below {
        let text = below.text.trim_start();
        if text.starts_with(';') {
            continue;
        }
        match metadata(*below) {
            Some(_) if !legs.is_empty() => found.at(below.number, "an entry has no metadata of its own; give it to the transfer, above the first entry"),
            Some(Ok((name, value))) => named.add(below.number, name, value, found),
            Some(Err(why)) => found.at(below.number, why),
            None => {
                postings += 1;
                legs.extend(found.or_note(below.number, posting(*below, names)));
            }
        }
    }
    if postings < 2 {
        found.at(line, TOO_FEW);
    }
    let key = named.take("key");
    let date = match named.take("date") {
        None => date,
        Some(text) => {
            let day = when::day(&text).ok_or_else(|| format!("{OWN}date: {}", when::DAY));
            found.or_note(line, day).unwrap_or(date)
        }
    };
    let metadata = rest_of(named, line, found);
    let legs = complete(legs, found);
    document.bookings.push(Placed { line, it: Booking { key, date, description, metadata, legs } });
}

fn posting(line: Line<'_>, names: &Names) -> Result<Open, String> {
    let words = tokens(line.text)?;
    let mut words = words.iter().map(|token| match token {
        Token::Word(word) => Ok(word.as_str()),
        Token::Text(text) => Err(format!("the text {text:?} has no place in an entry")),
    });
    let name = words.next().transpose()?.unwrap_or_default();
    let account = names.code(name)?;
    let open = |amount| Open { line: line.number, account, amount };
    let Some(number) = words.next().transpose()? else { return Ok(open(None)) };
    let Some(currency) = words.next().transpose()? else {
        return Err("an amount is a number and a currency, such as 12.34 EUR".into());
    };
    if let Some(more) = words.next().transpose()? {
        return Err(format!(
            "an entry here has no cost and no price ({more}); exchange is booked as entries in both currencies"
        ));
    }
    let (direction, amount) = signed_amount(number)?;
    Ok(open(Some((direction, amount, currency.to_owned()))))
}

/// The chart as directives.
pub fn chart(
    currencies: &[CurrencyBody],
    accounts: &[AccountBody],
    opened: Date,
) -> (String, Names) {
    let (mut text, opened) = (String::new(), shown(opened));
    for currency in currencies {
        text.push_str(&format!(
            "{opened} commodity {}\n  {OWN}scale: {}\n",
            currency.code, currency.scale
        ));
    }
    let mut names = Names::default();
    for account in accounts {
        let name = names.give(account);
        text.push_str(&format!(
            "{opened} open {name} {}\n  {OWN}name: {}\n",
            account.currency,
            quoted(&account.name)
        ));
        if name.to_ascii_lowercase() != account.code {
            text.push_str(&format!("  {OWN}code: {}\n", quoted(&account.code)));
        }
        if usual_side(&name) != Some(account.normal_balance) {
            text.push_str(&format!("  {OWN}normal: \"{}\"\n", account.normal_balance));
        }
        write_metadata(&mut text, &account.metadata.0);
    }
    (text, names)
}

/// A transfer as a transaction.
pub fn booking(booking: &Booking, names: &Names) -> Result<String, Unwritable> {
    let day = shown(booking.date);
    let mut text = format!("{day} * {}\n", quoted(&booking.description));
    if day != booking.date {
        text.push_str(&format!("  {OWN}date: \"{}\"\n", booking.date));
    }
    if let Some(key) = &booking.key {
        text.push_str(&format!("  {OWN}key: {}\n", quoted(key)));
    }
    write_metadata(&mut text, &booking.metadata.0);
    for leg in &booking.legs {
        let name = names.name(&leg.account)?;
        let sign = if leg.direction == Side::Debit { "" } else { "-" };
        text.push_str(&format!("  {name}  {sign}{} {}\n", leg.amount, leg.currency));
    }
    Ok(text)
}

fn write_metadata(text: &mut String, metadata: &BTreeMap<String, String>) {
    let mut others = BTreeMap::new();
    for (name, value) in metadata {
        let shaped = name.len() > 1
            && !name.starts_with(OWN)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.contains('.');
        if shaped {
            text.push_str(&format!("  {name}: {}\n", quoted(value)));
        } else {
            others.insert(name, value);
        }
    }
    if !others.is_empty() {
        text.push_str(&format!("  {OWN}{OTHERS}: {}\n", quoted(&json::written(&others))));
    }
}

/// A person's names and values, those among them that stand in JSON.
fn rest_of(mut named: Named, line: usize, found: &mut Found) -> Metadata {
    if let Some(text) = named.take(OTHERS)
        && let Some(others) = found.or_note(line, json::read::<Metadata>(text.as_bytes()))
    {
        for (name, value) in others.0 {
            named.add_metadata(line, name, value, found);
        }
    }
    named.rest(line, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        read(text, &LeftOut::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_persons_file_is_read() {
        let text = "option \"title\" \"Mine\"\n\
            * Accounts\n\
            2026-01-01 open Assets:US:Bank USD\n  customer: \"4711\"\n\
            2026-01-01 open Income:Salary USD ; every month\n\
            2026-01-02 price USD 0.9 EUR\n\
            2026/02/01 * \"Employer\" \"Pay \\\"March\\\"\" #work\n  period: 2026-03-01\n  Assets:US:Bank   1,234.50 USD\n  ; thanks\n  Income:Salary\n";
        let left_out = ["option", "price", "tags"].map(str::to_owned).into();
        let document = read(text, &left_out).unwrap();
        assert_eq!(document.accounts.len(), 2);
        assert_eq!(document.accounts[0].it.metadata.0["customer"], "4711");
        let booking = &document.bookings[0].it;
        assert_eq!(booking.description, "Pay \"March\"");
        assert_eq!(booking.metadata.0["payee"], "Employer");
        assert_eq!(booking.metadata.0["period"], "2026-03-01");
        assert_eq!(
            (booking.legs[1].account.as_str(), booking.legs[1].direction),
            ("income:salary", Side::Credit)
        );
        assert_eq!(booking.legs[1].amount.to_string(), "1234.50");
        let told = faults(text);
        for at in ["line 1: ", "line 6: ", "line 7: a transfer has no tags"] {
            assert!(told.contains(at), "{told}");
        }
    }

    #[test]
    fn names_that_beancount_has_not_come_back() {
        let names =
            ["reconciliation.line", "reconciliation.reason", "x", "7up", "_a", "order", "-"];
        let metadata = Metadata(names.map(|name| (name.to_owned(), format!("\"{name}\\"))).into());
        let mut text = String::new();
        write_metadata(&mut text, &metadata.0);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("  order: ") && text.contains("  forebay-metadata: \"{"), "{text}");
        let chart = "2026-01-01 open Assets:A EUR\n2026-01-01 open Assets:B EUR\n";
        let read = |metadata: &str| {
            let text =
                format!("{chart}2026-01-02 * \"x\"\n{metadata}  Assets:A  1 EUR\n  Assets:B\n");
            read(&text, &LeftOut::new()).map(|document| document.bookings[0].it.metadata.clone())
        };
        assert_eq!(read(&text).unwrap(), metadata);
        for bad in ["{", "[]", "{\\\"a.b\\\": 1}", "{\\\"order\\\": \\\"x\\\"}"] {
            let told = read(&format!("  order: \"y\"\n  forebay-metadata: \"{bad}\"\n"));
            assert!(told.unwrap_err().to_string().starts_with("line 3: "), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_told_at_its_line() {
        for (text, at) in [
            ("2026-01-01 open Assets:A\n", "line 1: Assets:A is opened without a currency"),
            ("2026-01-01 open Assets:A EUR,USD\n", "line 1: "),
            ("2026-01-01 open Assets:A EUR\n2026-01-01 open assets:a EUR\n", "line 2: "),
            ("2026-01-01 ! \"x\"\n", "line 1: a transaction that is flagged"),
            ("2026-01-01 balance Assets:A 1 EUR\n", "line 1: a ledger cannot keep \"balance\""),
            (
                "2026-01-01 * \"x\"\n  Assets:A  1 EUR {2 USD}\n  Assets:B\n",
                "line 2: an entry here has no cost",
            ),
            ("2026-01-01 * \"x\"\n  Assets:A  (1+1) EUR\n  Assets:B  -2 EUR\n", "line 2: "),
            (
                "2026-01-01 * \"x\"\n  Assets:A  1 EUR\n    note: \"y\"\n  Assets:B  -1 EUR\n",
                "line 3: an entry has no metadata",
            ),
            (
                "2026-01-01 * \"x\"\n  Assets:A  1 EUR\n  Assets:B\n  Assets:C\n",
                "line 3: an amount is missing",
            ),
            ("2026-01-01 * \"x\n", "line 1: a text has no end"),
            ("2026-02-30 open Assets:A EUR\n", "line 1: a ledger cannot keep"),
            ("include \"other.bean\"\n", "line 1: a ledger cannot keep \"include\""),
            (
                "2026-01-01 * \"x\"\n  Assets:A  12,34 EUR\n  Assets:B\n",
                "line 2: \"12,34\" is no amount",
            ),
        ] {
            let told = faults(text);
            assert!(told.contains(at), "{text}: {told}");
        }
    }
}
