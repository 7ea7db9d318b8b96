//! Everything booked, as text that other programs read and `importing` books again: in booking order, of one moment, a
//! piece at a time. What is held of it is the chart and a few pages of rows, however much is booked.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use thiserror::Error;
use uuid::Uuid;

use crate::account::{AccountBody, CurrencyBody, Side};
use crate::chain::TransferRow;
use crate::interchange::beancount::Names;
use crate::interchange::rows::Known;
use crate::interchange::{Booking, Format, Leg, Unwritable, beancount, journal, key_of, rows};
use crate::money::format_minor;
use crate::store::{Audit, StoreError, Stream};
use crate::transfer::TransferKind;

/// A piece has one transfer more than fit in here, at most.
const PIECE_BYTES: usize = 64 * 1024;

/// Why books cannot be written, or not in this format.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("transfer {transfer}: {source}")]
    Transfer { transfer: Uuid, source: Unwritable },
}

/// Books that are being written.
#[derive(Debug)]
pub struct Export {
    audit: Audit,
    format: Format,
    chart: Chart,
    names: Names,
    /// What comes before all transfers, until it is given out.
    head: Option<String>,
    stream: Stream,
}

/// The chart by what entries say of it.
#[derive(Debug)]
struct Chart {
    currencies: Vec<CurrencyBody>,
    accounts: Vec<AccountBody>,
    /// Code, currency and scale by number.
    by_id: HashMap<i64, (String, String, u8)>,
}

impl Export {
    /// Of the moment that `audit` sees.
    pub async fn begin(mut audit: Audit, format: Format) -> Result<Self, ExportError> {
        let chart = chart(&mut audit).await?;
        let mut names = Names::default();
        let head = match format {
            Format::Csv => rows::entries_heading(),
            Format::CsvAccounts => rows::chart(&chart.currencies, &chart.accounts),
            Format::Ledger => journal::chart(&chart.currencies, &chart.accounts),
            Format::Beancount => {
                let opened = first_day(&mut audit).await?;
                let text;
                (text, names) = beancount::chart(&chart.currencies, &chart.accounts, opened);
                text
            }
        };
        Ok(Self { audit, format, chart, names, head: Some(head), stream: Stream::default() })
    }

    /// The next piece of the text; none at its end.
    pub async fn piece(&mut self) -> Result<Option<String>, ExportError> {
        let mut text = self.head.take().unwrap_or_default();
        if self.format == Format::CsvAccounts {
            return Ok((!text.is_empty()).then_some(text));
        }
        while text.len() < PIECE_BYTES {
            let Some(transfer) = self.stream.next(&mut self.audit).await? else { break };
            if transfer.kind.moves() {
                text.push_str(&self.text(&transfer)?);
            }
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// How many transfers are only held: they are not booked, and so not written.
    pub async fn held(&mut self) -> Result<usize, StoreError> {
        match self.format {
            Format::CsvAccounts => Ok(0),
            _ => Ok(self.audit.holds().await?.len()),
        }
    }

    pub async fn close(self) -> Result<(), StoreError> {
        self.audit.close().await
    }

    fn text(&self, transfer: &TransferRow) -> Result<String, ExportError> {
        let booking = booking(transfer, &self.chart)?;
        let id = transfer.id.to_string();
        let booked_at = Timestamp::from_microsecond(transfer.booked_at_us)
            .map_err(|_| corrupt("a time of booking", &transfer.booked_at_us))?;
        let booked_at = format!("{booked_at:.6}");
        // A comment: another ledger gives a transfer a name and a time of its own.
        let comment = format!("\n; {} {id}, booked {booked_at}\n", transfer.kind.as_str());
        let written = match self.format {
            Format::Csv | Format::CsvAccounts => {
                let (first_entry, kind) = (transfer.entry_id_first, transfer.kind.as_str());
                let known = Known { first_entry, transfer: &id, kind, booked_at: &booked_at };
                return Ok(rows::booking(&booking, known));
            }
            Format::Ledger => Ok(journal::booking(&booking)),
            Format::Beancount => beancount::booking(&booking, &self.names),
        };
        let transfer = transfer.id;
        written
            .map(|text| comment + &text)
            .map_err(|source| ExportError::Transfer { transfer, source })
    }
}

fn corrupt(what: &str, value: &impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} is {value}"))
}

async fn chart(audit: &mut Audit) -> Result<Chart, StoreError> {
    let all = audit.currencies().await?;
    let scales: HashMap<&str, u8> = all.iter().map(|row| (row.code.as_str(), row.scale)).collect();
    let (mut accounts, mut by_id, mut used) = (Vec::new(), HashMap::new(), BTreeSet::new());
    for row in audit.accounts().await? {
        let scale = scales.get(row.currency.as_str()).copied().unwrap_or_default();
        by_id.insert(row.id, (row.code.clone(), row.currency.clone(), scale));
        used.insert(row.currency.clone());
        accounts.push(AccountBody {
            code: row.code,
            name: row.name,
            currency: row.currency,
            normal_balance: row.normal_balance,
            metadata: row.metadata,
        });
    }
    accounts.sort_by(|one, other| one.code.cmp(&other.code));
    let currencies = all.iter().filter(|row| used.contains(&row.code)).cloned().collect();
    Ok(Chart { currencies, accounts, by_id })
}

/// The day everything is open from: beancount wants accounts to be older than what is on them.
async fn first_day(audit: &mut Audit) -> Result<Date, StoreError> {
    let mut first = jiff::civil::date(1970, 1, 1);
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(audit).await? {
        first = first.min(day(&transfer)?);
    }
    Ok(first)
}

fn day(transfer: &TransferRow) -> Result<Date, StoreError> {
    let date = &transfer.effective_date;
    date.parse().map_err(|_| corrupt("an effective date", date))
}

fn booking(transfer: &TransferRow, chart: &Chart) -> Result<Booking, StoreError> {
    let mut legs = Vec::with_capacity(transfer.entries.len());
    for entry in &transfer.entries {
        let missing = || StoreError::Corrupt(format!("entry {} on no account", entry.id));
        let (code, currency, scale) = chart.by_id.get(&entry.account_id).ok_or_else(missing)?;
        let amount = format_minor(entry.amount_minor.into(), *scale);
        legs.push(Leg {
            line: 0,
            account: code.clone(),
            direction: if entry.debit { Side::Debit } else { Side::Credit },
            amount: amount.parse().map_err(|_| corrupt("an amount", &amount))?,
            currency: currency.clone(),
        });
    }
    let own = transfer.key.as_ref().filter(|_| transfer.kind == TransferKind::Transfer);
    let key = own.map_or_else(|| key_of(transfer.id), |row| row.key.clone());
    Ok(Booking {
        key: Some(key),
        date: day(transfer)?,
        description: transfer.description.clone(),
        metadata: transfer.metadata.clone(),
        legs,
    })
}
