//! Effective dates apart from dates of booking: balances and statements as of any time by either, and periods that
//! close.

use forebay_ledger::as_of::AsOf;
use forebay_ledger::batch::Verdict;
use forebay_ledger::close::Closing;
use forebay_ledger::money::format_minor;
use forebay_ledger::posting::Rejection;
use forebay_ledger::report::Statement;
use forebay_ledger::store::{Days, Place};
use forebay_ledger::verify::{VerifyError, verify};
use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::dated::{ACCOUNTS, Booked, Dated, sums};
use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::pending::id;
use crate::raw::Raw;
use crate::running::{moving, open_pair};

on_every_engine!(
    balances_and_statements_as_of_any_day_are_what_was_booked,
    closes_seal_and_carry_forward,
    a_close_has_what_was_booked_while_it_was_made,
    reads_as_of_a_day_are_of_one_moment,
    the_last_day_there_is_has_an_end,
    what_follows_from_dates_is_verified,
    the_api_speaks_of_both_dates,
    all_pages_of_a_statement_are_of_one_account,
    a_cursor_has_no_figures_to_be_changed,
);

fn noon(day: Date) -> Timestamp {
    day.at(12, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp()
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Forty days of transfers, of which about half count for another day than they were booked on.
async fn filled(dated: &mut Dated) -> Vec<Booked> {
    let (mut dice, mut booked) = (Dice(7), Vec::new());
    for step in 0..40_i64 {
        let day = date(2026, 1, 5).checked_add((step / 2).days()).unwrap();
        let now = noon(day).checked_add((step % 2).hours()).unwrap();
        let mut requests = Vec::new();
        for _ in 0..=dice.roll(3) {
            let from = usize::try_from(dice.roll(3)).unwrap();
            let to = (from + 1 + usize::try_from(dice.roll(2)).unwrap()) % 3;
            let minor = i64::try_from(1 + dice.roll(1000)).unwrap();
            let apart = i64::try_from(dice.roll(13)).unwrap() - 6;
            let effective = (dice.roll(2) == 0).then(|| day.checked_add(apart.days()).unwrap());
            requests.push(dated.request(from, to, minor, effective));
            let counts = effective.unwrap_or(day);
            booked.push((to, counts, now, true, minor));
            booked.push((from, counts, now, false, minor));
        }
        let verdicts = dated.book(now, requests).await;
        assert!(verdicts.iter().all(Verdict::is_booked), "{verdicts:?}");
    }
    booked
}

async fn balances_and_statements_as_of_any_day_are_what_was_booked(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let booked = filled(&mut dated).await;
    let reader = &dated.reader;
    let mut moment = reader.moment().await.unwrap();
    let mut standings = Vec::new();
    for code in ACCOUNTS {
        standings.push(moment.standing(code).await.unwrap().unwrap());
    }
    let mut day = date(2025, 12, 28);
    while day < date(2026, 2, 5) {
        for (at, due) in [
            (AsOf::EffectiveThrough(day), sums(&booked, |entry| entry.1 <= day)),
            (AsOf::BookedBefore(noon(day)), sums(&booked, |entry| entry.2 < noon(day))),
        ] {
            let found = moment.totals_as_of(&standings, at).await.unwrap();
            let found: Vec<_> = found.iter().map(|t| (t.debits_minor, t.credits_minor)).collect();
            assert_eq!(found, due.into_values().collect::<Vec<_>>(), "{at:?}");
        }
        day = day.tomorrow().unwrap();
    }
    moment.end().await.unwrap();
    let at = AsOf::EffectiveThrough(date(2026, 1, 12));
    let trial = reader.trial_balance_as_of(at, "", 2).await.unwrap();
    assert_eq!(trial.currencies[0].difference, "0.00");
    assert_eq!((trial.accounts.len(), trial.next_cursor.as_deref()), (2, Some("eur:b")));
    let rest = reader.trial_balance_as_of(at, "eur:b", 2).await.unwrap();
    assert_eq!((rest.currencies, rest.accounts.len()), (trial.currencies, 1));
    for (from, to) in [
        (None, None),
        (Some(date(2026, 1, 9)), Some(date(2026, 1, 17))),
        (Some(date(2026, 1, 9)), Some(date(2026, 1, 9))),
        (Some(date(2026, 1, 20)), None),
        (None, Some(date(2026, 1, 3))),
    ] {
        statement_is_right(&dated, &booked, Days { from, to }, 3).await;
    }
    dated.writer.close().await.unwrap();
    Box::pin(verify(&database.url.parse().unwrap(), None)).await.unwrap();
}

/// Page by page, the first account's entries of those days in the order they count, with what they add up to.
async fn statement_is_right(dated: &Dated, booked: &[Booked], days: Days, limit: usize) {
    let mut due: Vec<(Date, i64, bool, i64)> = (1..)
        .zip(booked.iter().filter(|entry| entry.0 == 0))
        .map(|(number, entry)| (entry.1, number, entry.3, entry.4))
        .collect();
    due.sort_unstable();
    let signed = |entry: &(Date, i64, bool, i64)| if entry.2 { entry.3 } else { -entry.3 };
    let early = |entry: &&(Date, i64, bool, i64)| days.from.is_some_and(|from| entry.0 < from);
    let mut balance: i64 = due.iter().filter(early).map(signed).sum();
    let opening = format_minor(balance.into(), 2);
    due.retain(|entry| days.from.is_none_or(|from| entry.0 >= from));
    due.retain(|entry| days.to.is_none_or(|to| entry.0 < to));
    let (mut place, mut found) = (None, Vec::new());
    loop {
        let read = dated.reader.effective_statement(ACCOUNTS[0], days, place, limit).await;
        let statement = read.unwrap().unwrap();
        assert_eq!(statement.opening_balance, opening);
        let end = due.iter().map(signed).sum::<i64>() + balance - found_sum(&due, found.len());
        assert_eq!(statement.closing_balance, format_minor(end.into(), 2), "{days:?}");
        for entry in statement.entries {
            let expected = due.get(found.len()).expect("no more than was booked");
            balance += signed(expected);
            assert_eq!((entry.effective_date, entry.number), (expected.0, expected.1), "{days:?}");
            assert_eq!(entry.balance, format_minor(balance.into(), 2), "{days:?}");
            found.push(entry.number);
        }
        let Some(cursor) = statement.next_cursor else { break };
        place = Some(Place::parse(&cursor).unwrap());
    }
    assert_eq!(found.len(), due.len(), "{days:?}");
}

fn found_sum(due: &[(Date, i64, bool, i64)], count: usize) -> i64 {
    due[..count].iter().map(|entry| if entry.2 { entry.3 } else { -entry.3 }).sum()
}

async fn closes_seal_and_carry_forward(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let mut booked = filled(&mut dated).await;
    let now = noon(date(2026, 1, 28));
    assert_eq!(dated.close(now, date(2026, 1, 28)).await, Closing::NotOver);
    let through = date(2026, 1, 15);
    let Closing::Closed(first) = dated.close(now, through).await else { panic!() };
    assert_eq!((first.id, first.through), (1, through));
    assert_eq!(dated.close(now, through).await, Closing::Existing(first.clone()));
    assert!(matches!(dated.close(now, date(2026, 1, 14)).await, Closing::Behind(_)));
    let carried = dated.reader.close_balances(1, "", 10).await.unwrap().items;
    let due = sums(&booked, |entry| entry.1 <= through);
    for (balance, (debits, credits)) in carried.iter().zip(due.into_values()) {
        let found = (balance.debits.clone(), balance.credits.clone());
        assert_eq!(found, (format_minor(debits.into(), 2), format_minor(credits.into(), 2)));
    }
    // Nothing counts for a closed day any more; the day after is open.
    let late = [through, date(2025, 1, 1), date(2026, 1, 16)];
    let requests = late.map(|day| dated.request(0, 1, 5, Some(day))).to_vec();
    let verdicts = dated.book(now, requests).await;
    let closed = |date| Verdict::Rejected(Rejection::PeriodClosed { date, through });
    assert_eq!(verdicts[..2], [closed(late[0]), closed(late[1])]);
    assert!(verdicts[2].is_booked());
    booked.extend([(1, late[2], now, true, 5), (0, late[2], now, false, 5)]);
    // What was booked between reading and closing is carried too.
    let next = date(2026, 1, 25);
    let (totals, last_entry) = dated.reader.totals_through(next).await.unwrap();
    let between = dated.request(0, 2, 7, Some(date(2026, 1, 20)));
    dated.book(now, vec![between]).await;
    booked.extend([(2, date(2026, 1, 20), now, true, 7), (0, date(2026, 1, 20), now, false, 7)]);
    assert!(matches!(dated.close_with(now, next, totals, last_entry).await, Closing::Closed(_)));
    let carried = dated.reader.close_balances(2, "eur:b", 1).await.unwrap();
    assert_eq!((carried.items.len(), carried.next_cursor), (1, None));
    let due = sums(&booked, |entry| entry.1 <= next)[&2];
    assert_eq!(carried.items[0].debits, format_minor(due.0.into(), 2));
    dated.writer.close().await.unwrap();
    Box::pin(verify(&database.url.parse().unwrap(), None)).await.unwrap();
}

async fn a_close_has_what_was_booked_while_it_was_made(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let day = date(2026, 1, 9);
    let next = noon(day).checked_add(13.hours()).unwrap();
    let mut booked = Vec::new();
    let mut book = async |dated: &mut Dated, at: Timestamp, effective: Option<Date>, minor| {
        let request = dated.request(0, 1, minor, effective);
        assert!(dated.book(at, vec![request]).await.iter().all(Verdict::is_booked));
        let counts = effective.unwrap_or(if at < next { day } else { date(2026, 1, 10) });
        booked.extend([(1, counts, at, true, minor), (0, counts, at, false, minor)]);
    };
    book(&mut dated, noon(day), None, 5).await;
    book(&mut dated, noon(day), Some(date(2026, 1, 12)), 11).await;
    // The day is not over when its totals are read, and is when the writer comes to it.
    let (totals, last_entry) = dated.reader.totals_through(day).await.unwrap();
    let late = noon(day).checked_add(11.hours()).unwrap();
    book(&mut dated, late, None, 7).await;
    book(&mut dated, late, Some(date(2026, 1, 3)), 13).await;
    book(&mut dated, next, None, 17).await;
    book(&mut dated, next, Some(day), 19).await;
    let closing = dated.close_with(next, day, totals, last_entry).await;
    assert!(matches!(closing, Closing::Closed(_)), "{closing:?}");
    let carried = dated.reader.close_balances(1, "eur:a", 1).await.unwrap();
    let due = sums(&booked, |entry| entry.1 <= day)[&1];
    assert_eq!(due.0, 5 + 7 + 13 + 19);
    assert_eq!(carried.items[0].debits, format_minor(due.0.into(), 2));
    dated.writer.close().await.unwrap();
    Box::pin(verify(&database.url.parse().unwrap(), None)).await.unwrap();
}

async fn reads_as_of_a_day_are_of_one_moment(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let (today, day) = (noon(date(2026, 1, 20)), date(2026, 1, 10));
    let first = dated.request(0, 1, 100, Some(day));
    dated.book(today, vec![first]).await;
    let at = AsOf::EffectiveThrough(day);
    // Booked between two steps of a read.
    let mut moment = dated.reader.moment().await.unwrap();
    let account = moment.standing(ACCOUNTS[1]).await.unwrap().unwrap();
    let between = dated.request(0, 1, 7, Some(day));
    dated.book(today, vec![between]).await;
    let totals = moment.totals_as_of(&[account], at).await.unwrap();
    assert_eq!((totals[0].debits_minor, totals[0].entries), (100, 1));
    moment.end().await.unwrap();
    // And all the while.
    let reader = dated.reader.clone();
    let done = std::cell::Cell::new(false);
    let write = async {
        for step in 0..60 {
            // Booked for then: money that was never there on that day, if half of it is seen.
            let request = dated.request(step % 2, step % 2 + 1, 5, Some(day));
            assert!(dated.book(today, vec![request]).await[0].is_booked());
        }
        done.set(true);
    };
    let read = async {
        while !done.get() {
            let trial = reader.trial_balance_as_of(at, "", 10).await.unwrap();
            assert_eq!(trial.currencies[0].difference, "0.00", "{:?}", trial.accounts);
            let days = Days { from: Some(day), to: day.tomorrow().ok() };
            let read = reader.effective_statement(ACCOUNTS[1], days, None, 1000).await;
            let statement = read.unwrap().unwrap();
            let last = statement.entries.last().map(|entry| entry.balance.clone());
            assert_eq!(last.as_ref(), Some(&statement.closing_balance));
        }
    };
    tokio::join!(write, read);
    dated.writer.close().await.unwrap();
    Box::pin(verify(&database.url.parse().unwrap(), None)).await.unwrap();
}

/// What is booked while a statement is read is on none of its pages, and in none of its figures.
async fn all_pages_of_a_statement_are_of_one_account(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let booked = filled(&mut dated).await;
    let now = noon(date(2026, 2, 2));
    for days in [
        Days::default(),
        Days { from: Some(date(2026, 1, 9)), to: Some(date(2026, 1, 17)) },
        Days { from: Some(date(2026, 1, 12)), to: None },
    ] {
        let whole = dated.reader.effective_statement(ACCOUNTS[0], days, None, 1000).await;
        let whole = whole.unwrap().unwrap();
        let (mut place, mut entries, mut step) = (None, Vec::new(), 0);
        loop {
            let page = dated.reader.effective_statement(ACCOUNTS[0], days, place, 3).await;
            let page = page.unwrap().unwrap();
            let figures = |of: &Statement| {
                let Statement { opening_balance, debits, credits, closing_balance, .. } = of;
                [opening_balance, debits, credits, closing_balance].map(String::clone)
            };
            assert_eq!(figures(&page), figures(&whole), "{days:?} page {step}");
            entries.extend(page.entries);
            let Some(cursor) = page.next_cursor else { break };
            place = Some(Place::parse(&cursor).unwrap());
            // For a day of a page before, for one of a page to come, and for today.
            let effective = [Some(date(2026, 1, 2)), Some(date(2026, 1, 16)), None][step % 3];
            let request = dated.request(0, 1, 1000, effective);
            assert!(dated.book(now, vec![request]).await[0].is_booked());
            step += 1;
        }
        assert!(step > 0);
        assert_eq!(entries, whole.entries, "{days:?}");
    }
    let now = dated.reader.effective_statement(ACCOUNTS[0], Days::default(), None, 1000).await;
    assert!(now.unwrap().unwrap().entries.len() > booked.iter().filter(|b| b.0 == 0).count());
    dated.writer.close().await.unwrap();
}

async fn a_cursor_has_no_figures_to_be_changed(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    filled(&mut dated).await;
    let days = Days::default();
    let whole = dated.reader.effective_statement(ACCOUNTS[0], days, None, 1000).await;
    let whole = whole.unwrap().unwrap();
    let count = whole.entries.len();
    for (date, number) in
        [("2026-01-12", 0), ("2026-01-12", 1), ("2026-01-09", 777_777), ("2027-01-01", 3)]
    {
        for entries in [count, 777_777] {
            let place = Place::parse(&format!("{date}.{number}.{entries}")).unwrap();
            let page = dated.reader.effective_statement(ACCOUNTS[0], days, Some(place), 1000).await;
            let page = page.unwrap().unwrap();
            let behind = &whole.entries[count - page.entries.len()..];
            assert_eq!(page.entries, behind, "{date}.{number}.{entries}");
            assert_eq!(page.closing_balance, whole.closing_balance);
        }
    }
    // Of fewer entries it is the statement that there was then.
    for entries in 0..count {
        let place = Place::parse(&format!("2000-01-01.0.{entries}")).unwrap();
        let page = dated.reader.effective_statement(ACCOUNTS[0], days, Some(place), 1000).await;
        let page = page.unwrap().unwrap();
        assert_eq!(page.entries.len(), entries);
        let last = page.entries.last().map_or("0.00", |entry| &entry.balance);
        assert_eq!(page.closing_balance, last);
    }
    assert_eq!(Place::parse("2026-01-11.2.777777.0"), None);
    dated.writer.close().await.unwrap();
}

async fn the_last_day_there_is_has_an_end(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let now = noon(date(2026, 1, 20));
    let mut booked = Vec::new();
    let days =
        [None, Some(Date::MAX), None, Some(Date::MAX), Some(date(9999, 12, 30)), Some(Date::MAX)];
    for (minor, effective) in (1..).zip(days) {
        let request = dated.request(1, 0, minor, effective);
        assert!(dated.book(now, vec![request]).await[0].is_booked());
        let counts = effective.unwrap_or(date(2026, 1, 20));
        booked.extend([(0, counts, now, true, minor), (1, counts, now, false, minor)]);
    }
    for from in [None, Some(date(2026, 1, 1)), Some(date(9999, 12, 30)), Some(Date::MAX)] {
        for limit in [1, 2, 100] {
            statement_is_right(&dated, &booked, Days { from, to: None }, limit).await;
        }
    }
    let days = Days { from: None, to: Some(Date::MAX) };
    statement_is_right(&dated, &booked, days, 1).await;
    dated.writer.close().await.unwrap();
}

async fn unfenced(database: &Database) -> Raw {
    let mut raw = database.connect().await;
    if database.engine == Engine::Postgres {
        raw.execute("SET session_replication_role = replica").await.unwrap();
        return raw;
    }
    for table in ["closes", "close_balances", "transfers"] {
        for what in ["update", "delete", "replace"] {
            raw.execute(&format!("DROP TRIGGER IF EXISTS {table}_no_{what}")).await.unwrap();
        }
    }
    raw
}

/// What is changed, how it is undone, what must be named.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "UPDATE backdated_entries SET effective_date = '2026-01-04' WHERE id = 1",
        "UPDATE backdated_entries SET effective_date = '2026-01-03' WHERE id = 1",
        "backdated_entries, id 1",
    ),
    (
        "INSERT INTO backdated_entries (id, account_id, effective_date, number) VALUES (3, 1, '2026-01-01', 9)",
        "DELETE FROM backdated_entries WHERE id = 3",
        "backdated_entries, id 3",
    ),
    (
        "UPDATE backdated_days SET debits_minor = debits_minor + 1 WHERE account_id = 2",
        "UPDATE backdated_days SET debits_minor = debits_minor - 1 WHERE account_id = 2",
        "backdated_days, account_id 2",
    ),
    (
        "UPDATE close_balances SET credits_minor = credits_minor + 1 WHERE account_id = 1",
        "UPDATE close_balances SET credits_minor = credits_minor - 1 WHERE account_id = 1",
        "close_balances, close_id 1, account_id 1",
    ),
    (
        "UPDATE closes SET description = 'year'",
        "UPDATE closes SET description = 'month'",
        "closes, 1",
    ),
    (
        "UPDATE closes SET through = '2026-01-31'",
        "UPDATE closes SET through = '2026-01-10'",
        "close_balances, close_id 1",
    ),
];

async fn what_follows_from_dates_is_verified(server: &Server) {
    let database = server.database().await;
    let mut dated = Dated::open(&database, noon(date(2026, 1, 1))).await;
    let now = noon(date(2026, 1, 20));
    let requests =
        vec![dated.request(0, 1, 5, Some(date(2026, 1, 3))), dated.request(1, 2, 5, None)];
    assert!(dated.book(now, requests).await.iter().all(Verdict::is_booked));
    assert!(matches!(dated.close(now, date(2026, 1, 10)).await, Closing::Closed(_)));
    dated.writer.close().await.unwrap();
    let url = database.url.parse().unwrap();
    Box::pin(verify(&url, None)).await.unwrap();
    let mut raw = unfenced(&database).await;
    for (change, undo, expected) in CHANGES {
        assert!(raw.execute(change).await.expect(change) > 0, "{change}");
        let finding = match Box::pin(verify(&url, None)).await {
            Err(VerifyError::Wrong(finding)) => finding.to_string(),
            other => panic!("{change}: {other:?}"),
        };
        assert!(finding.contains(expected), "{change}: {finding}");
        raw.execute(undo).await.expect(undo);
    }
    Box::pin(verify(&url, None)).await.unwrap();
}

#[expect(clippy::too_many_lines, reason = "one story of an account, told in order")]
async fn the_api_speaks_of_both_dates(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let on = |day: &str, amount: &str| {
        let mut body = moving("eur:credit", "eur:debit", amount);
        body["effective_date"] = json!(day);
        body
    };
    for (key, day, amount) in
        [("a", "2026-01-31", "5"), ("b", "2026-02-01", "7"), ("c", "2026-01-30", "1")]
    {
        id(&api.transfer(key, &on(day, amount)).await);
    }
    id(&api.transfer("d", &moving("eur:credit", "eur:debit", "2")).await);
    let path = "/v1/accounts/eur:debit/balance/as-of";
    let january = api.read(&format!("{path}?effective_through=2026-01-31")).await;
    assert_eq!((&january["balance"], &january["entries"]), (&json!("6.00"), &json!(2)));
    assert_eq!(
        (&january["effective_through"], &january["booked_before"]),
        (&json!("2026-01-31"), &Value::Null)
    );
    let before = api.read(&format!("{path}?booked_before=2026-02-01")).await;
    assert_eq!((&before["balance"], &before["account"]), (&json!("0.00"), &json!("eur:debit")));
    let trial = api.read("/v1/trial-balance/as-of?effective_through=2026-02-01").await;
    assert_eq!(trial["currencies"][0]["debits"], "13.00");
    let statement = api
        .read("/v1/accounts/eur:debit/statement?by=effective&from=2026-01-31&to=2026-02-02&limit=1")
        .await;
    assert_eq!(
        (&statement["by"], &statement["opening_balance"], &statement["closing_balance"]),
        (&json!("effective"), &json!("1.00"), &json!("13.00"))
    );
    assert_eq!(statement["entries"][0]["balance"], "6.00");
    let csv = api
        .get("/v1/accounts/eur:debit/statement.csv?by=effective&from=2026-01-31&to=2026-02-02&limit=1")
        .await;
    assert!(csv.body.contains(",5.00,6.00,EUR"), "{}", csv.body);
    assert!(csv.body.contains("\r\n,,,,\"Opening balance\",,,1.00,EUR,\r\n"), "{}", csv.body);
    assert!(!csv.body.contains("Closing balance"), "it goes on: {}", csv.body);
    let next = csv.headers["link"].to_str().unwrap();
    assert!(next.contains("by=effective&") && next.contains("cursor=2026-01-31."), "{next}");

    let closed =
        api.post("/v1/closes", &json!({"through": "2026-01-31", "description": "January"})).await;
    assert_eq!(
        (closed.status.as_u16(), closed.headers["location"].to_str().unwrap()),
        (201, "/v1/closes/1")
    );
    let again = api.post("/v1/closes", &json!({"through": "2026-01-31"})).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, closed.json()));
    assert_eq!(api.read("/v1/closes/1").await, closed.json());
    assert_eq!(api.read("/v1/closes").await["items"], json!([closed.json()]));
    let carried = api.read("/v1/closes/1/balances").await;
    assert_eq!(carried["items"][1]["account"], "eur:debit");
    assert_eq!(carried["items"][1]["balance"], "6.00");
    let late = api.transfer("late", &on("2026-01-31", "1")).await;
    assert_eq!(
        (late.problem().as_str(), &late.json()["field"]),
        ("period-closed", &json!("effective_date"))
    );
    id(&api.transfer("late", &on("2026-02-01", "1")).await);
    for (body, problem) in [
        (json!({"through": "2999-01-01"}), "period-not-over"),
        (json!({"through": "2026-01-30"}), "period-closed"),
        (json!({"through": "January"}), "invalid-body"),
        (json!({}), "invalid-body"),
    ] {
        assert_eq!(api.post("/v1/closes", &body).await.problem(), problem);
    }
    for path in ["/v1/closes/2", "/v1/closes/x/balances"] {
        assert_eq!(api.get(path).await.problem(), "close-not-found");
    }
    for path in [
        "/v1/accounts/eur:debit/balance/as-of",
        "/v1/accounts/eur:debit/balance/as-of?booked_before=2026-01-01&effective_through=2026-01-01",
        "/v1/trial-balance/as-of?effective_through=2026-1-1",
        "/v1/accounts/eur:debit/statement?by=effective&from=2026-01-01T00:00:00Z",
        "/v1/accounts/eur:debit/statement?by=effective&cursor=7",
        "/v1/accounts/eur:debit/statement?by=date",
        "/v1/entries?from=2026-02-01&to=2026-01-01",
    ] {
        assert_eq!(api.get(path).await.problem(), "invalid-parameter", "{path}");
    }
    // The general ledger, page by page.
    let first = api.read("/v1/entries?limit=7").await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next_cursor"]), (7, &json!("7")));
    assert_eq!(
        (&first["items"][6]["account"], &first["items"][6]["balance"]),
        (&json!("eur:debit"), &json!("15.00"))
    );
    let rest = api.read("/v1/entries?limit=7&cursor=7").await;
    assert_eq!((&rest["items"][0]["id"], &rest["next_cursor"]), (&json!(8), &Value::Null));
    assert!(api.read("/v1/entries?to=2026-01-01").await["items"].as_array().unwrap().is_empty());
    assert_eq!(
        api.read("/v1/entries?from=2026-01-01").await["items"].as_array().unwrap().len(),
        10
    );
}
