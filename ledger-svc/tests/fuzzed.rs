//! The targets of `fuzz/` that read what other programs and banks write, as they are there, compiled without libFuzzer:
//! on texts that are right, cut and changed in ways that are the same in every run.

/// What `fuzz_target!` makes here: a function in the place of a program.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub fn run($bytes: &[u8]) {
            $body
        }
    };
}

#[path = "../../fuzz/fuzz_targets/bank_statements.rs"]
#[allow(unused_attributes, unused_imports)]
mod bank_statements;
#[path = "../../fuzz/fuzz_targets/books.rs"]
#[allow(unused_attributes, unused_imports)]
mod books;

const SEEDS: [&str; 5] = [
    include_str!("statements/camt053.xml"),
    "d;a;r;t\n2026-01-02;1'000.00;order-42;Invoice 7\n2026-01-03;-12,50;;\"x;\"\"y\"\n",
    "2026-01-01 commodity EUR\n2026-01-01 open Assets:Bank EUR\n2026-01-01 open Income:Sales EUR\n\
     2026-01-02 * \"sale\" ^k\n  order: \"7\"\n  Assets:Bank  10.00 EUR\n  Income:Sales  -10.00 EUR\n",
    "commodity EUR\n    format 1,000.00 EUR\naccount assets:bank\naccount income:sales\n\n\
     2026/01/02 * (k) sale  ; order: 7\n    assets:bank  EUR 10.00\n    income:sales\n",
    "kind,code,name,currency,normal_balance,scale,metadata\ncurrency,EUR,,,,2,\naccount,bank,Bank,EUR,debit,,\"{}\"\n",
];
const PIECES: [&str; 8] = ["\n", "\"", ";", "  ", "99999999999999999999.99", "&#0;", "<Ntry>", "é"];

#[test]
fn texts_of_others_cut_and_changed_go_through() {
    let mut cuts = 0;
    for seed in SEEDS {
        let step = (seed.len() / 60).max(1);
        for (number, end) in (0..=seed.len()).step_by(step).enumerate() {
            if !seed.is_char_boundary(end) {
                continue;
            }
            let piece = PIECES[number % PIECES.len()];
            for text in [seed[..end].to_owned(), format!("{}{piece}{}", &seed[..end], &seed[end..])]
            {
                bank_statements::run(text.as_bytes());
                books::run(text.as_bytes());
                cuts += 1;
            }
        }
    }
    assert!(cuts > 300, "{cuts}");
}
