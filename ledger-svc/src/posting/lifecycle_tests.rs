//! Pending transfers over time: whatever is asked in whatever order, the books stay right.

use proptest::prelude::*;

use super::*;
use crate::transfer::{PostBody, ReverseBody, TransferBody, VoidBody};

const CODES: [&str; 3] = ["a", "b", "c"];
/// `a` may not be overdrawn, `b` has a credit limit and a maximum, `c` is free.
const LIMITS: [Limits; 3] = [
    Limits { min_minor: Some(0), max_minor: None },
    Limits { min_minor: Some(-300), max_minor: Some(500) },
    Limits { min_minor: None, max_minor: None },
];

#[derive(Clone, Debug)]
enum Step {
    Transfer {
        from: usize,
        to: usize,
        minor: i64,
        pending: bool,
        lasts: Option<i64>,
    },
    /// Which of the transfers so far; with an amount: that much of it.
    Post(prop::sample::Index, Option<i64>),
    Void(prop::sample::Index),
    Reverse(prop::sample::Index),
    /// Seconds that pass.
    Wait(i64),
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let transfer =
        (0..3_usize, 0..3_usize, 1..400_i64, any::<bool>(), prop::option::of(1..20_i64)).prop_map(
            |(from, to, minor, pending, lasts)| Step::Transfer { from, to, minor, pending, lasts },
        );
    let any = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => transfer,
        2 => (any(), prop::option::of(1..400_i64)).prop_map(|(of, part)| Step::Post(of, part)),
        1 => any().prop_map(Step::Void),
        1 => any().prop_map(Step::Reverse),
        1 => (1..15_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn entry(account: &str, direction: Side, minor: i64) -> EntryBody {
    let amount = format_minor(minor.into(), 2).parse().unwrap();
    EntryBody { account: account.into(), direction, amount }
}

fn pair(from: &str, to: &str, minor: i64) -> Vec<EntryBody> {
    vec![entry(to, Side::Debit, minor), entry(from, Side::Credit, minor)]
}

/// Books of empty debit accounts.
fn opened() -> Books {
    let mut books = Books::default();
    for ((code, limits), account_id) in CODES.iter().zip(LIMITS).zip(1..) {
        let currency = Currency { code: "EUR".into(), scale: 2 };
        let balance = Balance::default();
        let normal = Side::Debit;
        let standing = Standing { account_id, currency, normal, balance, limits, last_entry_id: 0 };
        books.accounts.0.insert((*code).into(), standing);
    }
    books
}

fn request(step: &Step, ids: &[Uuid], books: &Books, now: Timestamp) -> Option<Action> {
    let pick = |index: &prop::sample::Index| (!ids.is_empty()).then(|| ids[index.index(ids.len())]);
    Some(match step {
        Step::Wait(_) => return None,
        Step::Transfer { from, to, minor, pending, lasts } => Action::Transfer(TransferBody {
            description: String::new(),
            effective_date: None,
            pending: *pending,
            expires_at: lasts
                .filter(|_| *pending)
                .map(|s| now + std::time::Duration::from_secs(s.unsigned_abs())),
            entries: pair(CODES[*from], CODES[*to], *minor),
            expect: Vec::new(),
            split: Vec::new(),
            metadata: Metadata::default(),
        }),
        Step::Post(of, part) => {
            let of = pick(of)?;
            let held = &books.targets[&of].entries;
            let entries = part.map(|minor| pair(&held[1].account, &held[0].account, minor));
            Action::Post { of, body: PostBody { entries, ..PostBody::default() } }
        }
        Step::Void(of) => Action::Void { of: pick(of)?, body: VoidBody::default() },
        Step::Reverse(of) => Action::Reverse { of: pick(of)?, body: ReverseBody::default() },
    })
}

/// Remembers a booked posting as a transfer that others may follow.
fn book(books: &mut Books, posting: &Posting, id: Uuid) {
    books.apply(posting, id);
    let entries = posting.entries.iter().map(|entry| TargetEntry {
        account: entry.account.clone(),
        direction: entry.direction,
        amount_minor: entry.amount_minor,
    });
    let target = Target {
        seq: i64::try_from(books.targets.len()).unwrap() + 1,
        id,
        kind: posting.kind,
        of: posting.of,
        description: posting.description.clone(),
        metadata: posting.metadata.clone(),
        effective_date: posting.effective_date,
        booked_at: Timestamp::UNIX_EPOCH,
        expires_at: posting.expires_at,
        entry_id_first: 1,
        entries: entries.collect(),
        followed_by: None,
    };
    books.targets.insert(id, target);
}

fn check(books: &Books) -> Result<(), TestCaseError> {
    let standings = || books.accounts.0.values();
    let sum =
        |of: fn(&Balance) -> i64| standings().map(|s| i128::from(of(&s.balance))).sum::<i128>();
    prop_assert_eq!(sum(|b| b.debits_minor), sum(|b| b.credits_minor));
    prop_assert_eq!(sum(|b| b.pending_debits_minor), sum(|b| b.pending_credits_minor));
    for (code, standing) in &books.accounts.0 {
        let (limits, balance) = (standing.limits, &standing.balance);
        if let Some(min) = limits.min_minor {
            prop_assert!(balance.available(Side::Debit) >= min.into(), "{} {:?}", code, balance);
        }
        if let Some(max) = limits.max_minor {
            prop_assert!(balance.highest(Side::Debit) <= max.into(), "{} {:?}", code, balance);
        }
        let (mut debits, mut credits) = (0, 0);
        for target in books.targets.values() {
            if target.kind == TransferKind::Pending && target.followed_by.is_none() {
                for entry in target.entries.iter().filter(|entry| entry.account == *code) {
                    match entry.direction {
                        Side::Debit => debits += entry.amount_minor,
                        Side::Credit => credits += entry.amount_minor,
                    }
                }
            }
        }
        prop_assert_eq!(
            (balance.pending_debits_minor, balance.pending_credits_minor),
            (debits, credits)
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn in_whatever_order_limits_hold_and_sums_are_zero(steps in any_steps()) {
        let mut books = opened();
        let (mut now, mut ids) = (Timestamp::UNIX_EPOCH, Vec::new());
        for step in &steps {
            if let Step::Wait(seconds) = step {
                now += std::time::Duration::from_secs(seconds.unsigned_abs());
                let due: Vec<Target> = books.targets.values().filter(|target| {
                    target.kind == TransferKind::Pending && target.followed_by.is_none()
                        && target.expires_at.is_some_and(|at| at <= now)
                }).cloned().collect();
                // Before it is booked, an expiry is already true.
                for target in &due {
                    let action = Action::Post { of: target.id, body: PostBody::default() };
                    let refused = post(&action, &books, now);
                    let told = matches!(refused, Err(Rejection::NotPending { .. }));
                    prop_assert!(told);
                }
                for target in due {
                    let posting = expire(&target, &books.accounts, now).unwrap();
                    let id = Uuid::from_u128(ids.len() as u128 + 1);
                    book(&mut books, &posting, id);
                    ids.push(id);
                }
            }
            let Some(action) = request(step, &ids, &books, now) else { continue };
            let before = books.accounts.clone();
            match post(&action, &books, now) {
                Ok(posting) => {
                    let id = Uuid::from_u128(ids.len() as u128 + 1);
                    if let Some(of) = action.of() {
                        prop_assert!(books.targets[&of].followed_by.is_none(), "followed twice");
                    }
                    book(&mut books, &posting, id);
                    ids.push(id);
                }
                Err(rejection) => {
                    prop_assert_eq!(&books.accounts, &before);
                    let broken = matches!(rejection, Rejection::HoldBroken(_) | Rejection::Overflow { .. });
                    prop_assert!(!broken);
                }
            }
            check(&books)?;
        }
    }
}

#[test]
fn rejections_say_what_to_do() {
    let mut books = opened();
    let at = Timestamp::UNIX_EPOCH;
    let body = |from: &str, to: &str, minor, pending| {
        Action::Transfer(TransferBody {
            description: "d".into(),
            effective_date: None,
            pending,
            expires_at: None,
            entries: pair(from, to, minor),
            expect: Vec::new(),
            split: Vec::new(),
            metadata: Metadata::default(),
        })
    };
    let said = |action: &Action, books: &Books| post(action, books, at).unwrap_err().to_string();
    let overdraft = said(&body("a", "c", 1, false), &books);
    assert_eq!(overdraft, "account a would have -0.01 EUR available, less than its limit of 0.00");
    let beyond = said(&body("c", "b", 501, true), &books);
    assert_eq!(beyond, "account b could reach 5.01 EUR, more than its limit of 5.00");

    let held = post(&body("c", "a", 100, true), &books, at).unwrap();
    let id = Uuid::from_u128(1);
    book(&mut books, &held, id);
    let reversed = Action::Reverse { of: id, body: ReverseBody::default() };
    assert!(said(&reversed, &books).ends_with("it is pending; void it"));
    let part = PostBody { entries: Some(pair("c", "a", 101)), ..PostBody::default() };
    let more = said(&Action::Post { of: id, body: part }, &books);
    assert!(more.contains("debit side of a than is held there: 1.00 EUR"), "{more}");
    let elsewhere = PostBody { entries: Some(pair("c", "b", 1)), ..PostBody::default() };
    let more = said(&Action::Post { of: id, body: elsewhere }, &books);
    assert!(more.contains("held there: 0.00 EUR"), "{more}");

    let whole = Action::Post { of: id, body: PostBody::default() };
    let posted = post(&whole, &books, at).unwrap();
    assert_eq!((posted.kind, posted.description.as_str()), (TransferKind::Post, "d"));
    let second = Uuid::from_u128(2);
    book(&mut books, &posted, second);
    assert_eq!(
        said(&whole, &books),
        format!("transfer {id} is not pending: it is posted by {second}")
    );
    assert!(said(&reversed, &books).contains("reverse the transfer that posted it by"));
    let unknown = Action::Void { of: Uuid::from_u128(9), body: VoidBody::default() };
    assert!(said(&unknown, &books).starts_with("there is no transfer"));
}
