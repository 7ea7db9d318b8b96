//! What always holds, whatever is posted.

use proptest::prelude::*;

use super::*;
use crate::transfer::{EntryBody, TransferBody};

/// Code, currency, scale.
const CHART: [(&str, &str, u8); 6] = [
    ("eur:a", "EUR", 2),
    ("eur:b", "EUR", 2),
    ("jpy:a", "JPY", 0),
    ("jpy:b", "JPY", 0),
    ("kwd:a", "KWD", 3),
    ("kwd:b", "KWD", 3),
];

fn accounts(balances: &[(i64, i64)]) -> Accounts {
    let mut accounts = Accounts::default();
    for ((account_id, row), balance) in (0..).zip(&CHART).zip(balances) {
        let standing = Standing {
            account_id,
            currency: Currency { code: row.1.into(), scale: row.2 },
            normal: Side::Debit,
            balance: Balance {
                debits_minor: balance.0,
                credits_minor: balance.1,
                entries: 7,
                ..Balance::default()
            },
            limits: Limits::default(),
            last_entry_id: 0,
        };
        accounts.0.insert(row.0.into(), standing);
    }
    accounts
}

fn entry(account: usize, debit: bool, minor: i64) -> EntryBody {
    EntryBody {
        account: CHART[account].0.into(),
        direction: if debit { Side::Debit } else { Side::Credit },
        amount: format_minor(minor.into(), CHART[account].2).parse().unwrap(),
    }
}

fn transfer(entries: Vec<EntryBody>) -> TransferBody {
    TransferBody {
        description: String::new(),
        effective_date: None,
        pending: false,
        expires_at: None,
        entries,
        expect: Vec::new(),
        split: Vec::new(),
        metadata: Metadata::default(),
    }
}

/// At once, on these accounts alone.
fn post(transfer: &TransferBody, accounts: &Accounts) -> Result<Posting, Rejection> {
    let books = Books { accounts: accounts.clone(), ..Books::default() };
    super::post(&Action::Transfer(transfer.clone()), &books, Timestamp::UNIX_EPOCH)
}

fn one(account: &str, direction: Side, amount: &str) -> EntryBody {
    EntryBody { account: account.into(), direction, amount: amount.parse().unwrap() }
}

/// Balances anywhere, often close to the limit.
fn any_balances() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let total = prop_oneof![0..1_000_i64, (i64::MAX - 1_000)..=i64::MAX, 0..=i64::MAX];
    prop::collection::vec((total.clone(), total), CHART.len())
}

/// Entries at random: nearly always unbalanced.
fn any_entries() -> impl Strategy<Value = Vec<EntryBody>> {
    let minor = prop_oneof![1..1_000_i64, 1..=i64::MAX];
    prop::collection::vec((0..CHART.len(), any::<bool>(), minor), 2..8).prop_map(|entries| {
        entries.into_iter().map(|(account, debit, minor)| entry(account, debit, minor)).collect()
    })
}

/// Pairs that balance within a currency, in any order; the same account on both sides too.
fn balanced_entries() -> impl Strategy<Value = Vec<EntryBody>> {
    let pair = (0..3_usize, any::<bool>(), any::<bool>(), 1..2_000_i64);
    prop::collection::vec(pair, 1..6)
        .prop_map(|pairs| {
            let both = |(currency, from, to, minor): (usize, bool, bool, i64)| {
                [
                    entry(2 * currency + usize::from(from), true, minor),
                    entry(2 * currency + usize::from(to), false, minor),
                ]
            };
            pairs.into_iter().flat_map(both).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// The same judgement made the slow way, in 128 bits: the totals each account should end with.
fn expected_totals(
    transfer: &TransferBody,
    accounts: &Accounts,
) -> (bool, BTreeMap<String, (i128, i128)>) {
    let mut totals: BTreeMap<String, (i128, i128)> = BTreeMap::new();
    let mut sums: BTreeMap<String, i128> = BTreeMap::new();
    for entry in &transfer.entries {
        let standing = &accounts.0[&entry.account];
        let minor = i128::from(entry.amount.to_minor(&standing.currency).unwrap());
        let total = totals.entry(entry.account.clone()).or_insert((
            standing.balance.debits_minor.into(),
            standing.balance.credits_minor.into(),
        ));
        let sum = sums.entry(standing.currency.code.clone()).or_default();
        if entry.direction == Side::Debit {
            total.0 += minor;
            *sum += minor;
        } else {
            total.1 += minor;
            *sum -= minor;
        }
    }
    (sums.values().all(|sum| *sum == 0), totals)
}

proptest! {
    #[test]
    fn accepted_exactly_when_balanced_and_in_range(
        balances in any_balances(),
        entries in prop_oneof![any_entries(), balanced_entries()],
    ) {
        let before = accounts(&balances);
        let transfer = transfer(entries);
        let (balanced, totals) = expected_totals(&transfer, &before);
        let fits = totals.values().all(|(d, c)| *d <= i64::MAX.into() && *c <= i64::MAX.into());
        match post(&transfer, &before) {
            Ok(posting) => {
                prop_assert!(balanced && fits);
                for (code, (debits, credits)) in totals {
                    let after = posting.balances[&code];
                    prop_assert_eq!(i128::from(after.debits_minor), debits);
                    prop_assert_eq!(i128::from(after.credits_minor), credits);
                }
            }
            Err(Rejection::Unbalanced(imbalances)) => {
                prop_assert!(!balanced && !imbalances.is_empty());
            }
            Err(Rejection::Overflow { .. }) => prop_assert!(balanced && !fits),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn every_currency_sums_to_zero_and_entries_carry_running_totals(entries in balanced_entries()) {
        let before = accounts(&[(0, 0); CHART.len()]);
        let transfer = transfer(entries);
        let posting = post(&transfer, &before).unwrap();
        prop_assert_eq!(posting.entries.len(), transfer.entries.len());
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        let mut running: BTreeMap<&str, Balance> = BTreeMap::new();
        for (entry, asked) in posting.entries.iter().zip(&transfer.entries) {
            prop_assert_eq!(&entry.account, &asked.account);
            prop_assert!(entry.amount_minor > 0);
            let sign = if entry.direction == Side::Debit { 1 } else { -1 };
            *sums.entry(&entry.currency.code).or_default() += sign * i128::from(entry.amount_minor);
            let last = running.entry(&entry.account).or_insert(before.0[&entry.account].balance);
            *last = last.moved(entry.direction, entry.amount_minor).unwrap();
            prop_assert_eq!(entry.after, *last);
        }
        prop_assert!(sums.values().all(|sum| *sum == 0));
        for (code, balance) in &posting.balances {
            prop_assert_eq!(running[code.as_str()], *balance);
        }
    }

    #[test]
    fn the_order_of_entries_does_not_change_the_balances(
        (one, other) in balanced_entries().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle())),
    ) {
        let before = accounts(&[(0, 0); CHART.len()]);
        let (one, other) = (post(&transfer(one), &before), post(&transfer(other), &before));
        prop_assert_eq!(one.unwrap().balances, other.unwrap().balances);
    }
}

#[test]
fn a_balanced_transfer_in_several_currencies() {
    let before = accounts(&[(0, 0); CHART.len()]);
    let exchange = transfer(vec![
        one("eur:a", Side::Credit, "100.00"),
        one("eur:b", Side::Debit, "100"),
        one("jpy:a", Side::Debit, "16250"),
        one("jpy:b", Side::Credit, "16250"),
    ]);
    let posting = post(&exchange, &before).unwrap();
    assert_eq!(posting.balances["eur:a"].credits_minor, 10_000);
    assert_eq!(posting.balances["jpy:a"].debits_minor, 16_250);
}

#[test]
fn one_currency_does_not_pay_for_another() {
    let before = accounts(&[(0, 0); CHART.len()]);
    let crossed = transfer(vec![one("eur:a", Side::Debit, "5"), one("jpy:a", Side::Credit, "5")]);
    let Err(Rejection::Unbalanced(imbalances)) = post(&crossed, &before) else { panic!() };
    let differences: Vec<_> =
        imbalances.iter().map(|i| (i.currency.as_str(), i.difference.as_str())).collect();
    assert_eq!(differences, [("EUR", "5.00"), ("JPY", "-5")]);
}

#[test]
fn rejections_name_what_is_wrong() {
    let before = accounts(&[(i64::MAX, 0); CHART.len()]);
    let unknown = transfer((0..12).map(|i| one(&format!("no:{i}"), Side::Debit, "1")).collect());
    let said = post(&unknown, &before).unwrap_err().to_string();
    assert!(said.contains("no:0, no:1") && said.ends_with("and 2 more"), "{said}");

    let fine = transfer(vec![one("jpy:a", Side::Debit, "1.5"), one("jpy:b", Side::Credit, "1.5")]);
    let said = post(&fine, &before).unwrap_err().to_string();
    assert!(said.contains("entries[0]") && said.contains("JPY has a scale of 0"), "{said}");

    let over =
        transfer(vec![one("eur:b", Side::Credit, "0.01"), one("eur:a", Side::Debit, "0.01")]);
    assert_eq!(
        post(&over, &before).unwrap_err(),
        Rejection::Overflow { entry: 1, account: "eur:a".into(), direction: Side::Debit }
    );
}
