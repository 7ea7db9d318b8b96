//! ISO 20022 camt.053 (Bank-to-Customer Statement), any version: one statement, its balances and its booked entries.

use jiff::civil::Date;

use super::overlap::OF_STATEMENT;
use super::statement::{
    IDENTITY_CHARS_MAX, LINES_MAX, NAME_CHARS_MAX, REFERENCE_CHARS_MAX, ReadLine, ReadStatement,
    TEXT_CHARS_MAX, cut,
};
use super::xml::{self, Node};
use crate::account::Side;
use crate::interchange::{Faults, Found};
use crate::money::{Currency, signed_minor};
use crate::when;

/// What banks write where they have no reference.
const NO_REFERENCE: [&str; 3] = ["NONREF", "NOREF", "NOTPROVIDED"];

/// Whose statement it is: in what currency, and on which side the account grows.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    pub currency: &'a Currency,
    pub normal: Side,
}

/// Reads a statement of such an account.
pub fn read(text: &str, of: Of<'_>) -> Result<ReadStatement, Faults> {
    let currency = of.currency;
    let root =
        xml::read(text.trim_start_matches('\u{feff}')).map_err(|fault| Faults(vec![fault]))?;
    let mut found = Found::default();
    let mut statements = Vec::new();
    root.below("Stmt", &mut statements);
    let statement = match statements.as_slice() {
        [one] => *one,
        [] => {
            found.at(
                1,
                "there is no statement (Stmt) in it; camt.053 is read, and no other message",
            );
            return found.end(ReadStatement::default());
        }
        [_, second, ..] => {
            found.at(second.line, "there are several statements (Stmt) in it; give each one alone, as each is of one account");
            return found.end(ReadStatement::default());
        }
    };
    let mut read = ReadStatement {
        name: statement.said("Id").map(|id| cut(id, NAME_CHARS_MAX)),
        ..ReadStatement::default()
    };
    for balance in statement.all("Bal") {
        let Some(minor) = signed(balance, of, &mut found) else { continue };
        match balance.said("Tp/CdOrPrtry/Cd") {
            Some("OPBD" | "PRCD") => read.opening_minor = Some(minor),
            Some("CLBD") => {
                read.closing_minor = Some(minor);
                read.closing_date = date(balance, "Dt");
            }
            // Available and interim balances are forecasts, not part of what was booked.
            _ => {}
        }
    }
    for (entry, number) in statement.all("Ntry").zip(1..) {
        if read.lines.len() >= LINES_MAX {
            found.at(
                entry.line,
                format!("there are more than {LINES_MAX} entries; ask for shorter statements"),
            );
            break;
        }
        // What moves nothing, such as a notice of the bank's, is no line: no entry could ever be it.
        if let Some(line) = line(entry, of, &mut found).filter(|line| line.minor != 0) {
            let identity = identity(entry, statement, number);
            read.lines.push(ReadLine { identity, ..line });
        }
    }
    // What could not be read would be missing in the sum.
    if let (Some(opening), Some(closing), true) =
        (read.opening_minor, read.closing_minor, found.is_empty())
    {
        let sum: i128 = read.lines.iter().map(|line| i128::from(line.minor)).sum();
        if i128::from(opening) + sum != i128::from(closing) {
            let text = |minor: i128| crate::money::format_minor(minor, currency.scale);
            found.at(
                statement.line,
                format!(
                    "opening balance {} and entries of {} do not come to the closing balance {}",
                    text(opening.into()),
                    text(sum),
                    text(closing.into())
                ),
            );
        }
    }
    found.end(read)
}

/// `Amt` with `CdtDbtInd`, as minor units by the account's normal side. The bank says `CRDT` of what it owes its client, and
/// that is a debit in the client's books: more money on an account that grows by debits, less debt on one that grows by
/// credits, such as a card's or a loan's.
fn signed(node: &Node, Of { currency, normal }: Of<'_>, found: &mut Found) -> Option<i64> {
    let Some(amount) = node.find("Amt") else {
        found.at(node.line, format!("<{}> has no amount (Amt)", node.name));
        return None;
    };
    if let Some(other) = amount.attribute("Ccy").filter(|code| *code != currency.code) {
        found.at(
            amount.line,
            format!("the amount is in {other}, and the account holds {}", currency.code),
        );
        return None;
    }
    let written = amount.text.trim();
    if written.starts_with('-') {
        found.at(
            amount.line,
            format!("the amount {written:?} has a sign; CdtDbtInd says which way it goes"),
        );
        return None;
    }
    let minor = found.or_note(amount.line, signed_minor(&plain(written), currency))?;
    match node.said("CdtDbtInd") {
        Some("CRDT") => Some(super::signed(normal, Side::Debit, minor)),
        Some("DBIT") => Some(super::signed(normal, Side::Credit, minor)),
        _ => {
            found.at(node.line, format!("<{}> is neither CRDT nor DBIT (CdtDbtInd)", node.name));
            None
        }
    }
}

/// A decimal of XML as everybody else writes it: without `+`, without zeros at either end that say nothing, with a digit
/// before the point.
fn plain(written: &str) -> String {
    let digits = written.strip_prefix('+').unwrap_or(written);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let (short, decimals) = (whole.trim_start_matches('0'), decimals.trim_end_matches('0'));
    let none = whole.is_empty() && !digits.bytes().any(|byte| byte.is_ascii_digit());
    match (short, decimals) {
        _ if none => written.to_owned(),
        ("", "") => "0".to_owned(),
        (whole, "") => whole.to_owned(),
        ("", decimals) => format!("0.{decimals}"),
        (whole, decimals) => format!("{whole}.{decimals}"),
    }
}

fn line(entry: &Node, of: Of<'_>, found: &mut Found) -> Option<ReadLine> {
    match entry.said("Sts/Cd").or_else(|| entry.said("Sts")) {
        Some("BOOK") | None => {}
        Some(status) => {
            found.at(entry.line, format!("the entry is {status} and not booked (BOOK); a statement to reconcile with has booked ones only"));
            return None;
        }
    }
    let minor = signed(entry, of, found)?;
    let date = date(entry, "BookgDt").or_else(|| date(entry, "ValDt"));
    let Some(date) = date else {
        found.at(entry.line, "the entry has no booking date (BookgDt)");
        return None;
    };
    let (mut details, mut remitted, mut names) = (Vec::new(), Vec::new(), Vec::new());
    entry.below("EndToEndId", &mut details);
    entry.below("Ustrd", &mut remitted);
    entry.below("Nm", &mut names);
    let own: Vec<&str> = details
        .iter()
        .map(|node| node.text.trim())
        .filter(|id| !id.is_empty() && *id != "NOTPROVIDED")
        .collect();
    let reference = match own.as_slice() {
        [one] => one,
        _ => entry.said("AcctSvcrRef").or_else(|| entry.said("NtryRef")).unwrap_or_default(),
    };
    let texts = names.iter().chain(&remitted).map(|node| node.text.as_str());
    let said: Vec<&str> = texts.chain(entry.said("AddtlNtryInf")).collect();
    Some(ReadLine {
        date,
        minor,
        reference: cut(reference, REFERENCE_CHARS_MAX),
        text: cut(&said.join(" "), TEXT_CHARS_MAX),
        identity: String::new(),
    })
}

/// What the bank tells an entry from all others by: its own reference, or the one of the only transaction in it, or the
/// number that the transaction has on its way between banks. `NtryRef` and the place hold within a statement alone: some
/// banks count with the one, others write the account's number into it.
fn identity(entry: &Node, statement: &Node, number: usize) -> String {
    let mut transactions = Vec::new();
    entry.below("TxDtls", &mut transactions);
    let only = match transactions.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    let is_one = |text: &&str| !NO_REFERENCE.iter().any(|none| text.eq_ignore_ascii_case(none));
    let of_entry = |name: &str| entry.said(name).filter(is_one);
    let of_transaction = |name: &str| only?.said(&format!("Refs/{name}")).filter(is_one);
    let own = of_entry("AcctSvcrRef").or_else(|| of_transaction("AcctSvcrRef"));
    let told = match (own, of_transaction("TxId"), statement.said("Id")) {
        (Some(own), ..) => format!("AcctSvcrRef {own}"),
        (None, Some(id), _) => format!("TxId {id}"),
        (None, None, Some(id)) => match of_entry("NtryRef") {
            Some(reference) => format!("{OF_STATEMENT}{id} NtryRef {reference}"),
            None => format!("{OF_STATEMENT}{id} entry {number}"),
        },
        (None, None, None) => String::new(),
    };
    if told.chars().count() > IDENTITY_CHARS_MAX { String::new() } else { told }
}

/// A date, or the day of a time as the bank wrote it.
fn date(node: &Node, name: &str) -> Option<Date> {
    let node = node.find(name)?;
    let text = node.said("Dt").or_else(|| node.said("DtTm"))?;
    when::day(text.get(..10)?)
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of an account in euro.
    fn read_for(text: &str, normal: Side) -> Result<ReadStatement, Faults> {
        let currency = Currency { code: "EUR".into(), scale: 2 };
        read(text, Of { currency: &currency, normal })
    }

    fn read_euro(text: &str) -> Result<ReadStatement, Faults> {
        read_for(text, Side::Debit)
    }

    pub const STATEMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>m</MsgId></GrpHdr>
<Stmt><Id>2026-001</Id><Acct><Id><IBAN>DE02120300000000202051</IBAN></Id></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-01</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">87.50</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-02</Dt></Dt></Bal>
<Ntry><Amt Ccy="EUR">12.500</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-01-02</Dt></BookgDt>
<AcctSvcrRef>bank-7</AcctSvcrRef><NtryDtls><TxDtls><Refs><EndToEndId>order-42</EndToEndId></Refs>
<RltdPties><Cdtr><Pty><Nm>M&#252;ller &amp; Sons</Nm></Pty></Cdtr></RltdPties><RmtInf><Ustrd>Invoice
 7</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
</Stmt></BkToCstmrStmt></Document>"#;

    #[test]
    fn a_banks_statement_is_read() {
        let read = read_euro(STATEMENT).unwrap();
        assert_eq!(
            (read.name.as_deref(), read.opening_minor, read.closing_minor),
            (Some("2026-001"), Some(10_000), Some(8750))
        );
        assert_eq!(read.closing_date, Some(jiff::civil::date(2026, 1, 2)));
        let expected = ReadLine {
            date: jiff::civil::date(2026, 1, 2),
            minor: -1250,
            reference: "order-42".into(),
            text: "Müller & Sons Invoice 7".into(),
            identity: "AcctSvcrRef bank-7".into(),
        };
        assert_eq!(read.lines, [expected]);
    }

    #[test]
    fn an_entry_is_told_by_what_the_bank_has() {
        let told = |from: &str, to: &str| {
            read_euro(&STATEMENT.replace(from, to)).unwrap().lines[0].identity.clone()
        };
        let own = "<AcctSvcrRef>bank-7</AcctSvcrRef>";
        assert_eq!(told(own, ""), "Stmt 2026-001 entry 1");
        assert_eq!(told("bank-7", "nonref"), "Stmt 2026-001 entry 1");
        assert_eq!(told(own, "<NtryRef>3</NtryRef>"), "Stmt 2026-001 NtryRef 3");
        let within = |refs: &str| format!("{refs}<NtryDtls><TxDtls><Refs>");
        let refs = format!("{own}<NtryDtls><TxDtls><Refs>");
        let of_transaction = |inner: &str| told(&refs, &(within("") + inner));
        assert_eq!(of_transaction("<TxId>t-1</TxId>"), "TxId t-1");
        assert_eq!(of_transaction("<AcctSvcrRef>b</AcctSvcrRef><TxId>t</TxId>"), "AcctSvcrRef b");
        // What is said of one transaction of several is not said of the entry.
        let several = "<NtryDtls><TxDtls><Refs><TxId>t</TxId></Refs></TxDtls><TxDtls><Refs>";
        assert_eq!(told(&refs, several), "Stmt 2026-001 entry 1");
        assert_eq!(told("bank-7", &"x".repeat(140)), "");
    }

    #[test]
    fn what_a_bank_debits_is_more_debt() {
        let read = read_for(STATEMENT, Side::Credit).unwrap();
        assert_eq!((read.opening_minor, read.closing_minor), (Some(-10_000), Some(-8750)));
        assert_eq!(read.lines[0].minor, 1250);
    }

    #[test]
    fn whatever_the_schema_allows_is_read() {
        for (written, due) in [
            ("+12.50", "12.5"),
            ("012.50", "12.5"),
            (".50", "0.5"),
            ("12.", "12"),
            ("0.00", "0"),
            ("000", "0"),
            ("1000", "1000"),
            ("0.05", "0.05"),
            (".", "."),
            ("", ""),
            ("+", "+"),
            ("1.2.30", "1.2.3"),
            ("++1", "+1"),
            ("1e3", "1e3"),
        ] {
            assert_eq!(plain(written), due, "{written:?}");
        }
        let written = |amount: &str| read_euro(&STATEMENT.replace("12.500", amount));
        assert_eq!(written("+012.5").unwrap().lines[0].minor, -1250);
        for bad in [".", "", "++12.5", "1e3", "12,50", "1.2.30"] {
            assert!(written(bad).is_err(), "{bad:?}");
        }
        // What moves nothing is no line, and without one it is a statement all the same.
        let still = STATEMENT.replace("12.500", "0.00").replace("87.50", "100.00");
        let read = read_euro(&still).unwrap();
        assert_eq!((read.lines.len(), read.closing_minor), (0, Some(10_000)));
    }

    #[test]
    fn what_is_wrong_is_told_at_its_line() {
        for (from, to, at) in [
            ("87.50", "87.51", "line 3: opening balance 100.00 and entries of -12.50"),
            ("BOOK", "PDNG", "line 6: the entry is PDNG"),
            ("Ccy=\"EUR\">12.500", "Ccy=\"USD\">12.500", "line 6: the amount is in USD"),
            ("12.500", "12.505", "line 6: amount \"12.505\" has 3 decimals"),
            ("DBIT", "X", "line 6: <Ntry> is neither"),
            (">12.500<", ">-12.500<", "line 6: the amount \"-12.500\" has a sign"),
            ("&amp;", "&evil;", "line 8: there is no entity &evil;"),
            ("</Stmt>", "", "it is no XML"),
            ("</Document>", "</Document>\n<Document/>", "line 11: there is a second element"),
            (
                "</Document>",
                "</Document>\nx",
                "line 11: there is text outside of the document's element",
            ),
            ("Stmt>", "Rpt>", "there is no statement"),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
                "<!DOCTYPE x>",
                "line 1: a statement has no DOCTYPE",
            ),
            (
                "<BookgDt><Dt>2026-01-02",
                "<BookgDt><Dt>2026-13-02",
                "line 6: the entry has no booking date",
            ),
        ] {
            let text = STATEMENT.replace(from, to);
            let told = read_euro(&text).unwrap_err().to_string();
            assert!(told.contains(at), "{to}: {told}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_a_statement_is_told_at_its_line(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
        ) {
            let mut bytes = STATEMENT.as_bytes().to_vec();
            for (place, byte, how) in changes {
                if bytes.is_empty() {
                    break;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = byte,
                    1 => bytes.insert(place, byte),
                    2 => drop(bytes.remove(place)),
                    _ => bytes.truncate(place.max(1)),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Err(Faults(faults)) = read_euro(&text) {
                prop_assert!(!faults.is_empty());
                let lines = text.lines().count() + 1;
                prop_assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line)), "{:?}", faults);
            }
        }
    }
}
