//! Books kept through the store itself, at times of the test's own choosing: what was booked on which day
//! cannot be staged through a service, whose clock is the machine's.

use std::collections::{BTreeMap, HashMap};

use forebay_ledger::account::{AccountBody, Side};
use forebay_ledger::as_of::Totals;
use forebay_ledger::batch::{self, Changes, Group, Snapshot, Verdict, Wanted};
use forebay_ledger::chain::Record;
use forebay_ledger::close::{CloseBody, Closing, NewClose};
use forebay_ledger::metadata::Metadata;
use forebay_ledger::store::{self, Access, Batch, Reader, Writer};
use forebay_ledger::transfer::{self, IdempotencyKey, TransferRequest};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::engine::Database;

pub const ACCOUNTS: [&str; 3] = ["eur:a", "eur:b", "eur:c"];

/// A writer with a clock of its own.
pub struct Dated {
    pub writer: Writer,
    pub reader: Reader,
    keys: u32,
}

/// An entry as it should be: account, effective date, time of booking, debit, minor units.
pub type Booked = (usize, Date, Timestamp, bool, i64);

impl Dated {
    pub async fn open(database: &Database, now: Timestamp) -> Self {
        let access = Access { migrate: true, allow_unsafe: false };
        let opened = Box::pin(store::open(&database.url.parse().unwrap(), access)).await.unwrap();
        let mut dated = Self { writer: opened.writer, reader: opened.reader, keys: 0 };
        let mut batch = dated.writer.begin().await.unwrap();
        let mut snapshot = Snapshot::default();
        batch
            .lock_and_read(&Wanted { ends: true, ..Wanted::default() }, &mut snapshot)
            .await
            .unwrap();
        let mut links = Vec::new();
        for code in ACCOUNTS {
            let body = AccountBody {
                code: code.into(),
                name: code.into(),
                currency: "EUR".into(),
                normal_balance: Side::Debit,
                metadata: Metadata::default(),
            };
            let created = batch.create_account(&body, now).await.unwrap();
            links.push(snapshot.head.extend(Record::Account(created.created().unwrap())));
        }
        batch.write_links(&links).await.unwrap();
        batch.commit().await.unwrap();
        dated
    }

    /// From one account to another, counting for a day.
    pub fn request(
        &mut self,
        from: usize,
        to: usize,
        minor: i64,
        date: Option<Date>,
    ) -> TransferRequest {
        self.keys += 1;
        let amount = format!("{}.{:02}", minor / 100, minor % 100);
        let date = date.map_or("null".to_owned(), |date| format!("\"{date}\""));
        let body = format!(
            r#"{{"description":"d","effective_date":{date},"entries":[{{"account":"{}","direction":"debit","amount":"{amount}"}},{{"account":"{}","direction":"credit","amount":"{amount}"}}]}}"#,
            ACCOUNTS[to], ACCOUNTS[from]
        );
        let key = IdempotencyKey::parse(format!("k{}", self.keys).as_bytes()).unwrap();
        transfer::parse(key, body.as_bytes(), 10).unwrap()
    }

    /// One batch at that time, as the writer does it.
    pub async fn book(&mut self, now: Timestamp, requests: Vec<TransferRequest>) -> Vec<Verdict> {
        let mut batch = self.writer.begin().await.unwrap();
        let wanted = Wanted { accounts: ACCOUNTS.to_vec(), ends: true, ..Wanted::default() };
        let mut snapshot = Snapshot::default();
        batch.lock_and_read(&wanted, &mut snapshot).await.unwrap();
        let groups: Vec<Group> = requests.into_iter().map(Group::one).collect();
        let (verdicts, changes) = batch::decide(&groups, &mut snapshot, now, Uuid::now_v7);
        write(&mut batch, changes, &mut snapshot).await;
        batch.commit().await.unwrap();
        verdicts.into_iter().flatten().collect()
    }

    pub async fn close(&mut self, now: Timestamp, through: Date) -> Closing {
        let (totals, last_entry) = self.reader.totals_through(through).await.unwrap();
        self.close_with(now, through, totals, last_entry).await
    }

    pub async fn close_with(
        &mut self,
        now: Timestamp,
        through: Date,
        totals: HashMap<i64, Totals>,
        last_entry: i64,
    ) -> Closing {
        let body = CloseBody { through, description: "month".into() };
        let new = NewClose { body, totals, last_entry };
        let mut batch = self.writer.begin().await.unwrap();
        let mut snapshot = Snapshot::default();
        batch
            .lock_and_read(&Wanted { ends: true, ..Wanted::default() }, &mut snapshot)
            .await
            .unwrap();
        let (closing, row) = batch.create_close(&new, now).await.unwrap();
        if let Some(row) = &row {
            let links = [snapshot.head.extend(Record::Close(row))];
            batch.write_links(&links).await.unwrap();
        }
        batch.commit().await.unwrap();
        closing
    }
}

/// Entries that balances may be behind: what is read has rows of all ages.
const BEHIND_MAX: i64 = 100;

async fn write(batch: &mut Batch<'_>, mut changes: Changes, snapshot: &mut Snapshot) {
    changes.thread(&mut snapshot.trails).unwrap();
    changes.chain(&mut snapshot.head);
    changes.settle(&mut snapshot.behind, snapshot.last.entry_id, BEHIND_MAX);
    if !changes.transfers.is_empty() {
        batch.write(&changes, &[]).await.unwrap();
    }
}

/// Debits and credits by account of the entries that count.
pub fn sums(booked: &[Booked], counts: impl Fn(&Booked) -> bool) -> BTreeMap<usize, (i64, i64)> {
    let mut sums: BTreeMap<usize, (i64, i64)> = (0..ACCOUNTS.len()).map(|i| (i, (0, 0))).collect();
    for entry in booked.iter().filter(|entry| counts(entry)) {
        let sides = sums.get_mut(&entry.0).unwrap();
        if entry.3 {
            sides.0 += entry.4;
        } else {
            sides.1 += entry.4;
        }
    }
    sums
}
