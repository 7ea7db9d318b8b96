//! Any text as a bank's statement: camt.053, or a table read by a mapping. It is read, or its faults have lines.

#![no_main]

use forebay_ledger::account::Side;
use forebay_ledger::money::Currency;
use forebay_ledger::reconcile::table::Mapping;
use forebay_ledger::reconcile::{camt, table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let euro = Currency { code: "EUR".into(), scale: 2 };
    let mapping = r#"{"date":"d","amount":"a","thousands":"'","reference":"r","text":["t"]}"#;
    let mapping: Mapping = serde_json::from_str(mapping).expect("it is one");
    let of = camt::Of { currency: &euro, normal: Side::Debit };
    for read in [camt::read(text, of), table::read(text, &mapping, &euro)] {
        if let Err(faults) = read {
            assert!(faults.0.iter().all(|fault| fault.line >= 1 && !fault.message.is_empty()));
        }
    }
});
