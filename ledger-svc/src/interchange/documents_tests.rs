//! Whatever a document says comes back from every format as it was; and whatever is done to a text, it is read or its
//! faults are told at lines it has.

use jiff::civil::Date;
use proptest::prelude::*;

use super::*;
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::metadata::Metadata;

const FORMATS: [Format; 3] = [Format::Csv, Format::Beancount, Format::Ledger];

fn text(max: usize) -> impl Strategy<Value = String> {
    let edges = prop::sample::select(vec![
        "",
        " ",
        "; x",
        "(a) b",
        "* b",
        "\"q\\",
        "a  b",
        "é:—",
        "!",
        "=",
        "#t ^l",
        "1, b: 2",
        "x:y,z:1",
        "[2026-03-01]",
        "paid [=2026/3/1]",
        " \"x\" ",
    ]);
    prop_oneof![
        edges.prop_map(str::to_owned),
        prop::collection::vec(any::<char>().prop_filter("printable", |c| !c.is_control()), 0..max)
            .prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn names() -> impl Strategy<Value = Metadata> {
    let value =
        text(20).prop_map(|value| value.trim().to_owned()).prop_filter("there", |v| !v.is_empty());
    let name = prop_oneof!["[a-z][a-z0-9_-]{1,8}", "forebay-(key|code|date|metadata|x)"];
    prop::collection::btree_map(name, value, 0..3).prop_map(Metadata)
}

fn accounts() -> impl Strategy<Value = Vec<AccountBody>> {
    let root =
        prop::sample::select(vec!["assets:", "liabilities:", "income:", "expenses:", "own_", ""]);
    let code = (root, "[a-z0-9][a-z0-9_-]{0,6}(:[a-z0-9][a-z0-9_-]{0,6}){0,2}");
    let name = text(30).prop_filter("there", |name| !name.trim().is_empty());
    let one =
        (code, name, any::<bool>(), names(), prop::sample::select(vec!["EUR", "JPY", "P01NTS"]));
    prop::collection::vec(one, 4..10).prop_map(|many| {
        let mut accounts: Vec<AccountBody> = Vec::new();
        for ((root, code), name, debit, metadata, currency) in many {
            let code = format!("{root}{code}");
            if accounts.iter().all(|account| account.code != code) {
                let normal_balance = if debit { Side::Debit } else { Side::Credit };
                accounts.push(AccountBody {
                    code,
                    name,
                    currency: currency.into(),
                    normal_balance,
                    metadata,
                });
            }
        }
        accounts
    })
}

fn currencies() -> Vec<CurrencyBody> {
    [("EUR", 2), ("JPY", 0), ("P01NTS", 3)]
        .map(|(code, scale)| CurrencyBody { code: code.into(), scale })
        .into()
}

fn bookings(accounts: Vec<AccountBody>) -> impl Strategy<Value = Document> {
    let key = prop::option::of("[!-~]{1,20}");
    let pair = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=i64::MAX / 4);
    let one = (key, 0..3_000_000_i64, text(40), names(), prop::collection::vec(pair, 1..3));
    prop::collection::vec(one, 0..6).prop_map(move |many| {
        let mut document = Document {
            currencies: currencies().into_iter().map(|it| Placed { line: 0, it }).collect(),
            accounts: accounts.iter().cloned().map(|it| Placed { line: 0, it }).collect(),
            bookings: Vec::new(),
        };
        for (key, day, description, metadata, pairs) in many {
            let date = Date::MIN
                .max(jiff::civil::date(0, 1, 1))
                .saturating_add(jiff::Span::new().days(day));
            let mut legs = Vec::new();
            for (from, to, minor) in pairs {
                let from = from.get(&accounts);
                let to = &accounts[to.index(accounts.len())];
                let scale = |account: &AccountBody| {
                    currencies().iter().find(|c| c.code == account.currency).unwrap().scale
                };
                for (account, direction) in [(from, Side::Debit), (to, Side::Credit)] {
                    let amount =
                        crate::money::format_minor(minor.into(), scale(account)).parse().unwrap();
                    legs.push(Leg {
                        line: 0,
                        account: account.code.clone(),
                        direction,
                        amount,
                        currency: account.currency.clone(),
                    });
                }
            }
            document
                .bookings
                .push(Placed { line: 0, it: Booking { key, date, description, metadata, legs } });
        }
        document
    })
}

/// What exports write of a document.
fn written(format: Format, document: &Document) -> Result<String, Unwritable> {
    let currencies: Vec<CurrencyBody> = document.currencies.iter().map(|c| c.it.clone()).collect();
    let accounts: Vec<AccountBody> = document.accounts.iter().map(|a| a.it.clone()).collect();
    let bookings = document.bookings.iter().map(|booking| &booking.it);
    let mut text;
    match format {
        Format::CsvAccounts => return Ok(rows::chart(&currencies, &accounts)),
        Format::Csv => {
            text = rows::entries_heading();
            for (number, booking) in bookings.enumerate() {
                let transfer = number.to_string();
                let known = rows::Known {
                    first_entry: 1,
                    transfer: &transfer,
                    kind: "transfer",
                    booked_at: "",
                };
                text.push_str(&rows::booking(booking, known));
            }
        }
        Format::Beancount => {
            let (chart, names) =
                beancount::chart(&currencies, &accounts, jiff::civil::date(1970, 1, 1));
            text = chart;
            for booking in bookings {
                text.push_str(&beancount::booking(booking, &names)?);
            }
        }
        Format::Ledger => {
            text = journal::chart(&currencies, &accounts);
            for booking in bookings {
                text.push('\n');
                text.push_str(&journal::booking(booking));
            }
        }
    }
    Ok(text)
}

/// Where things are is no part of what they say.
fn unplaced(mut document: Document) -> Document {
    document.currencies.iter_mut().for_each(|it| it.line = 0);
    document.accounts.iter_mut().for_each(|it| it.line = 0);
    for booking in &mut document.bookings {
        booking.line = 0;
        booking.it.legs.iter_mut().for_each(|leg| leg.line = 0);
    }
    document
}

fn documents() -> impl Strategy<Value = Document> {
    accounts().prop_flat_map(bookings)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_again(document in documents()) {
        for format in FORMATS {
            let text = written(format, &document).map_err(|why| TestCaseError::fail(why.to_string()))?;
            let read = read(format, &text, &LeftOut::new());
            let read = read.map_err(|faults| TestCaseError::fail(format!("{format:?} {faults}\n{text}")))?;
            let mut expected = document.clone();
            if format == Format::Csv {
                expected.currencies.clear();
                expected.accounts.clear();
            }
            prop_assert_eq!(unplaced(read), expected, "{:?} {}", format, text);
        }
        let chart = read(Format::CsvAccounts, &written(Format::CsvAccounts, &document).unwrap(), &LeftOut::new());
        let chart = unplaced(chart.map_err(|faults| TestCaseError::fail(faults.to_string()))?);
        prop_assert_eq!(chart.accounts, document.accounts);
    }

    #[test]
    fn whatever_is_done_to_a_text_is_told_at_its_line(
        document in documents(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..12),
    ) {
        for format in [Format::Csv, Format::CsvAccounts, Format::Beancount, Format::Ledger] {
            let mut bytes = written(format, &document).unwrap_or_default().into_bytes();
            for (place, byte, how) in &changes {
                if bytes.is_empty() {
                    break;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = *byte,
                    1 => bytes.insert(place, *byte),
                    2 => drop(bytes.remove(place)),
                    _ => bytes.truncate(place),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            match read(format, &text, &LeftOut::new()) {
                Ok(read) => {
                    let plan = check::check(read, check::Chart::default(), 100);
                    let told = plan.err().map(|faults| faults.0).unwrap_or_default();
                    prop_assert!(told.iter().all(|fault| fault.line >= 1));
                }
                Err(Faults(faults)) => {
                    let lines = text.lines().count().max(1);
                    prop_assert!(!faults.is_empty());
                    for fault in faults {
                        prop_assert!((1..=lines + 1).contains(&fault.line), "{}: {}", fault, text);
                        prop_assert!(!fault.message.is_empty());
                    }
                }
            }
        }
    }
}
