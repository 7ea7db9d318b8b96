//! Any text as books of another program: CSV, beancount, ledger-cli. It is read and checked, or its faults have lines.

#![no_main]

use forebay_ledger::interchange::{self, Format, LeftOut, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for format in [Format::Csv, Format::CsvAccounts, Format::Beancount, Format::Ledger] {
        let read = interchange::read(format, text, &LeftOut::new());
        let planned = read.and_then(|read| check::check(read, check::Chart::default(), 1000));
        if let Err(faults) = planned {
            assert!(faults.0.iter().all(|fault| fault.line >= 1 && !fault.message.is_empty()));
        }
    }
});
