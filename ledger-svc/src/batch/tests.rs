//! What a batch decides, whatever is asked.

use proptest::prelude::*;

use super::*;
use crate::account::Side;
use crate::money::Currency;
use crate::posting::{Accounts, Balance, Limits, Standing};
use crate::transfer::{self, IdempotencyKey};

const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];

fn snapshot(debits_minor: i64) -> Snapshot {
    let standing = |account_id| Standing {
        account_id,
        currency: Currency { code: "EUR".into(), scale: 2 },
        normal: Side::Debit,
        balance: Balance { debits_minor, ..Balance::default() },
        limits: Limits::default(),
        last_entry_id: 0,
    };
    let accounts = ACCOUNTS.iter().zip(1..).map(|(code, id)| ((*code).into(), standing(id)));
    let books = Books { accounts: Accounts(accounts.collect()), ..Books::default() };
    Snapshot { books, ..Snapshot::default() }
}

fn request(key: &str, from: &str, to: &str, debit: &str, credit: &str) -> TransferRequest {
    let body = format!(
        r#"{{"description":"","entries":[{{"account":"{from}","direction":"debit","amount":"{debit}"}},{{"account":"{to}","direction":"credit","amount":"{credit}"}}]}}"#
    );
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    transfer::parse(key, body.as_bytes(), 10).unwrap()
}

/// Ids that only depend on how many were drawn.
fn in_groups(groups: &[Group], snapshot: &mut Snapshot) -> (Vec<Vec<Verdict>>, Changes) {
    let mut drawn = 0;
    decide(groups, snapshot, Timestamp::UNIX_EPOCH, || {
        drawn += 1;
        Uuid::from_u128(drawn)
    })
}

/// Each request for itself.
fn decided(requests: &[TransferRequest], mut snapshot: Snapshot) -> (Vec<Verdict>, Changes) {
    let groups: Vec<Group> = requests.iter().cloned().map(Group::one).collect();
    let (verdicts, changes) = in_groups(&groups, &mut snapshot);
    (verdicts.into_iter().flatten().collect(), changes)
}

/// Requests of which some are unbalanced, name no account, overflow, or repeat a key.
fn any_requests() -> impl Strategy<Value = Vec<TransferRequest>> {
    let account = || prop::sample::select(vec!["a", "b", "c", "d", "nowhere"]);
    let amount = || prop::sample::select(vec!["1.00", "1.01", "7", "9.99"]);
    let one = (0..30_u32, account(), account(), amount(), amount(), any::<bool>());
    prop::collection::vec(one, 0..20).prop_map(|requests| {
        let one = |(key, from, to, debit, credit, balanced): (u32, &str, &str, _, _, bool)| {
            request(&key.to_string(), from, to, debit, if balanced { debit } else { credit })
        };
        requests.into_iter().map(one).collect()
    })
}

proptest! {
    #[test]
    fn a_rejected_transfer_changes_nothing(
        requests in any_requests(),
        room_minor in prop::sample::select(vec![500, 3_000, i64::MAX]),
    ) {
        let start = snapshot(i64::MAX - room_minor);
        let (verdicts, changes) = decided(&requests, start.clone());
        prop_assert_eq!(verdicts.len(), requests.len());
        let posted: Vec<TransferRequest> = requests
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| matches!(verdict, Verdict::Posted(_)))
            .map(|(request, _)| request.clone())
            .collect();
        let (again, same) = decided(&posted, start);
        prop_assert_eq!(changes, same);
        prop_assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Posted(_))));
    }

    #[test]
    fn each_key_posts_once_and_numbers_have_no_gaps(requests in any_requests()) {
        let (verdicts, changes) = decided(&requests, snapshot(0));
        let mut first: HashMap<&str, (&TransferRequest, &Answer)> = HashMap::new();
        for (request, verdict) in requests.iter().zip(&verdicts) {
            match (first.get(request.key.as_str()), verdict) {
                (None, Verdict::Posted(answer)) => {
                    first.insert(request.key.as_str(), (request, answer));
                }
                (None, Verdict::Rejected(_)) => {}
                (Some((earlier, answer)), Verdict::Replayed(replayed)) => {
                    prop_assert_eq!(earlier.fingerprint, request.fingerprint);
                    prop_assert_eq!(*answer, replayed);
                }
                (Some((earlier, _)), Verdict::KeyReused) => {
                    prop_assert_ne!(earlier.fingerprint, request.fingerprint);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(changes.transfers.len(), first.len());
        for (new, seq) in changes.transfers.iter().zip(1..) {
            prop_assert_eq!((new.seq, new.entry_id_first), (seq, 2 * seq - 1));
        }
    }

    /// A group of which one is refused might as well not have come; one that is whole is the same as its
    /// requests one by one.
    #[test]
    fn a_group_is_booked_whole_or_not_at_all(
        groups in prop::collection::vec((any_requests(), any::<bool>()), 0..8),
        room_minor in prop::sample::select(vec![3_000, i64::MAX]),
    ) {
        let groups: Vec<Group> = groups
            .into_iter()
            .map(|(requests, all_or_nothing)| Group { requests, all_or_nothing })
            .collect();
        let mut after = snapshot(i64::MAX - room_minor);
        let (verdicts, changes) = in_groups(&groups, &mut after);
        let mut booked = Vec::new();
        for (group, verdicts) in groups.iter().zip(&verdicts) {
            prop_assert_eq!(group.requests.len(), verdicts.len());
            let refused = verdicts.iter().filter(|verdict| !verdict.is_booked()).count();
            if group.all_or_nothing && refused > 0 {
                prop_assert_eq!(refused, verdicts.len());
                let to_blame = verdicts.iter().filter(|v| **v != Verdict::Withheld).count();
                prop_assert_eq!(to_blame, 1);
                continue;
            }
            let done = group.requests.iter().zip(verdicts).filter(|(_, v)| v.is_booked());
            booked.extend(done.map(|(request, _)| request.clone()));
        }
        let mut again = snapshot(i64::MAX - room_minor);
        let alone: Vec<Group> = booked.into_iter().map(Group::one).collect();
        let (verdicts, same) = in_groups(&alone, &mut again);
        prop_assert!(verdicts.iter().flatten().all(Verdict::is_booked));
        prop_assert_eq!(&changes.balances, &same.balances);
        let numbers = |changes: &Changes| {
            let of = |new: &Arc<NewTransfer>| (new.seq, new.entry_id_first, new.entries.clone());
            changes.transfers.iter().map(of).collect::<Vec<_>>()
        };
        prop_assert_eq!(numbers(&changes), numbers(&same));
        prop_assert_eq!(after.last, again.last);
        prop_assert_eq!(after.books.accounts, again.books.accounts);
    }

    #[test]
    fn the_order_of_requests_does_not_change_the_balances(
        (one, other) in prop::collection::vec((0..4_usize, 0..4_usize, 1..500_u32), 0..12)
            .prop_map(|moves| {
                let one = |(index, (from, to, euro)): (usize, (usize, usize, u32))| {
                    let amount = euro.to_string();
                    request(&index.to_string(), ACCOUNTS[from], ACCOUNTS[to], &amount, &amount)
                };
                moves.into_iter().enumerate().map(one).collect::<Vec<_>>()
            })
            .prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
    ) {
        let (one, other) = (decided(&one, snapshot(0)).1, decided(&other, snapshot(0)).1);
        prop_assert_eq!(one.balances, other.balances);
    }
}

#[test]
fn known_keys_are_answered_from_before() {
    let before = request("k", "a", "b", "1", "1");
    let (verdicts, changes) = decided(std::slice::from_ref(&before), snapshot(0));
    let Verdict::Posted(answer) = &verdicts[0] else { panic!() };
    let mut known = snapshot(0);
    let Keyed { key, fingerprint } = changes.transfers[0].keyed.clone().unwrap();
    let (transfer_id, status, body) = (answer.transfer_id, answer.status, answer.body());
    let stored = StoredAnswer { fingerprint, transfer_id, status, body: Some(body.into()) };
    known.answers.insert(key.as_str().into(), stored);
    let other = request("k", "a", "b", "2", "2");
    let (verdicts, changes) = decided(&[before, other], known);
    assert_eq!(verdicts, [Verdict::Replayed(answer.clone()), Verdict::KeyReused]);
    assert_eq!(changes, Changes::default());
}

#[test]
fn a_clock_set_back_books_at_the_last_time() {
    let mut later = snapshot(0);
    later.last.booked_at_us = 86_400_000_000;
    let (_, changes) = decided(&[request("k", "a", "b", "1", "1")], later);
    let transfer = &changes.transfers[0];
    assert_eq!(transfer.booked_at.as_microsecond(), 86_400_000_000);
    assert_eq!(transfer.effective_date.to_string(), "1970-01-02");
    assert_eq!(transfer.entries[0].direction, Side::Debit);
}

#[test]
fn entries_are_threaded_from_where_their_accounts_end() {
    let requests = |keys: &[&str]| -> Vec<Group> {
        keys.iter().map(|key| Group::one(request(key, "a", "b", "1", "1"))).collect()
    };
    let mut snapshot = snapshot(0);
    let (_, mut changes) = in_groups(&requests(&["1", "2", "3", "4"]), &mut snapshot);
    changes.chain(&mut snapshot.head);
    assert!(!changes.are_complete());
    changes.thread(&mut snapshot.trails).unwrap();
    assert!(!changes.are_complete());
    changes.settle(&mut snapshot.behind, snapshot.last.entry_id, 0);
    assert!(changes.are_complete());
    let backs: Vec<(i64, i64)> =
        changes.backs.iter().map(|back| (back.previous_id, back.jump_id)).collect();
    assert_eq!(backs, [(0, 0), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 2)]);
    assert_eq!(changes.last_ids, [7, 8]);

    // Of accounts whose last entries are not known nothing goes on.
    let (_, mut more) = in_groups(&requests(&["5"]), &mut snapshot);
    let said = more.thread(&mut HashMap::new()).unwrap_err().to_string();
    assert!(said.contains("entry 5 is broken"), "{said}");
    assert!(!more.are_complete());
    more.thread(&mut snapshot.trails).unwrap();
    assert_eq!((more.backs.len(), more.last_ids.as_slice()), (2, [9, 10].as_slice()));
}
