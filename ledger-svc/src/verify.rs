//! `verify`: reads every row of a database and recomputes what follows from it: sums, totals, holds,
//! answers and the chain. Reads only, and may run beside the service.

mod books;
mod chart;
mod days;
mod finding;
mod reconciled;
mod sealed;
mod signed;

pub use self::books::{Books, Sums};
use self::chart::Chart;
pub use self::finding::{Finding, VerifyError};
use self::reconciled::Reconciled;
use self::sealed::Sealed;
use self::signed::Signed;
use crate::chain::Record;
use crate::hex::hex;
use crate::link::{Head, Link};
use crate::signature::{PublicKey, SignatureRow};
use crate::store::{Audit, DatabaseUrl, StoreError, Stream, Unguarded};

/// Books found right.
#[derive(Debug)]
pub struct Verified {
    pub books: Books,
    pub accounts: usize,
    /// Triggers and indexes that should keep rows as they are, and single, and do not.
    pub unguarded: Unguarded,
    /// The last signature, and how many there are.
    pub signed: Option<(SignatureRow, usize)>,
}

/// Verifies a whole database. `pinned` is a head of the chain noted down before: it must still be in it.
pub async fn verify(url: &DatabaseUrl, pinned: Option<Head>) -> Result<Verified, VerifyError> {
    verify_signed(url, pinned, &[]).await
}

/// The same, and every signature must be by one of the keys, unless there is none; with keys there must be one.
pub async fn verify_signed(
    url: &DatabaseUrl,
    pinned: Option<Head>,
    keys: &[PublicKey],
) -> Result<Verified, VerifyError> {
    let mut audit = Audit::open(url).await?;
    let verified = recompute(&mut audit, url, pinned, keys).await;
    // A damage is why something cannot be read; and what is read well may go round an index that others rely on.
    if let Ok(_) | Err(VerifyError::Store(StoreError::Engine(_))) = verified {
        let damages = audit.damages().await?;
        if !damages.is_empty() {
            return Err(VerifyError::Damaged(damages.join("; ")));
        }
    }
    let verified = verified?;
    audit.close().await?;
    Ok(verified)
}

async fn recompute(
    audit: &mut Audit,
    url: &DatabaseUrl,
    pinned: Option<Head>,
    keys: &[PublicKey],
) -> Result<Verified, VerifyError> {
    audit.check_migrations(url).await?;
    let mut chart = Chart::read(audit).await?;
    let mut signed = Signed::new(chart.signatures.values(), keys)?;
    let (reconciled, sealed) = (Reconciled::new(&chart), Sealed::new(&chart));
    let accounts = chart.accounts.len();
    let mut books = Books::new(audit.balances_through().await?);
    walk(audit, &mut books, &mut chart, pinned, &mut signed).await?;
    signed.end()?;
    if let Some((seq, key)) = audit.key_of_two().await? {
        let what = format!("its key {key:?} is another transfer's too");
        return Err(Finding { table: "transfers", row: format!("seq {seq}"), what }.into());
    }
    let [open, matched] = audit.reconciled().await?;
    reconciled.check(&open, &matched)?;
    books.derived(&audit.balances().await?, &audit.holds().await?)?;
    books.check_backdated_days(&audit.backdated_days().await?)?;
    if audit.stray_links().await? != 0 {
        let what = "it is before the first of the chain".into();
        return Err(Finding { table: "chain", row: "seq below 1".into(), what }.into());
    }
    if audit.stray_close_balances().await? != 0 {
        let what = "it is carried forward by a close that is not there".into();
        return Err(Finding { table: "close_balances", row: "close_id".into(), what }.into());
    }
    if audit.stray_metadata().await? != 0 {
        let what = "it is of an account that is not there".into();
        return Err(Finding { table: "account_metadata", row: "account_id".into(), what }.into());
    }
    if audit.stray_transfer_metadata().await? != 0 {
        let what = "it is of a transfer that is not there".into();
        let row = "transfer_seq".into();
        return Err(Finding { table: "transfer_metadata", row, what }.into());
    }
    sealed.check(audit).await?;
    let unguarded = audit.unguarded().await?;
    Ok(Verified { books, accounts, unguarded, signed: signed.last })
}

/// Goes along the chain and holds each link against the row it is about.
async fn walk(
    audit: &mut Audit,
    books: &mut Books,
    chart: &mut Chart,
    pinned: Option<Head>,
    signed: &mut Signed,
) -> Result<(), VerifyError> {
    let mut stream = Stream::default();
    let mut pinned_seen = pinned.is_none();
    loop {
        let links = audit.links(books.head().seq, books.transfers).await?;
        if links.is_empty() {
            break;
        }
        for link in &links {
            let missing = |what: &str| Finding {
                table: "chain",
                row: format!("seq {}", link.seq),
                what: what.to_owned(),
            };
            if link.seq != books.head().seq + 1 {
                return Err(missing("links before it are gone").into());
            }
            let (sort, row) = link.subject.split_once(':').unwrap_or_default();
            let gone = || missing(&format!("{} is gone", link.subject));
            let number = row.parse::<i64>();
            match (sort, number) {
                ("currency", _) => {
                    books.currency(link, &chart.currencies.remove(row).ok_or_else(gone)?)?;
                }
                ("account", Ok(id)) => {
                    books.account(link, &chart.accounts.remove(&id).ok_or_else(gone)?)?;
                }
                ("limits", Ok(id)) => {
                    books.limits(link, &chart.limits.remove(&id).ok_or_else(gone)?)?;
                }
                ("close", Ok(id)) => {
                    let mut close = chart.closes.remove(&id).ok_or_else(gone)?;
                    close.balances = audit.close_balances(id).await?;
                    books.close(link, &close)?;
                }
                ("transfer", Ok(_)) => {
                    let transfer = stream.next(audit).await?.ok_or_else(gone)?;
                    books.transfer(link, &transfer)?;
                }
                (_, Ok(id)) => administration(books, chart, link, sort, id)?,
                _ => return Err(missing(UNKNOWN).into()),
            }
            signed.pass(link)?;
            if let Some(pinned) = pinned
                && pinned.seq == link.seq
            {
                if pinned.hash != link.hash {
                    let found = format!("its hash is {}, not the one noted down", hex(&link.hash));
                    return Err(missing(&found).into());
                }
                pinned_seen = true;
            }
        }
    }
    if !pinned_seen {
        let row = format!("seq {}", pinned.unwrap_or_default().seq);
        let what = "the chain ends before the link noted down".into();
        return Err(Finding { table: "chain", row, what }.into());
    }
    nothing_unchained(audit, &mut stream, chart).await
}

const UNKNOWN: &str = "it is about nothing the ledger knows";

/// A link about how the ledger is run.
fn administration(
    books: &mut Books,
    chart: &mut Chart,
    link: &Link,
    sort: &str,
    id: i64,
) -> Result<(), Finding> {
    let at = |what: String| Finding { table: "chain", row: format!("seq {}", link.seq), what };
    let gone = || at(format!("{} is gone", link.subject));
    match sort {
        "key" => {
            let row = chart.keys.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Key(&row), "api_keys")
        }
        "revocation" => {
            let row = chart.revocations.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Revocation(&row), "api_key_revocations")
        }
        "endpoint" => {
            let row = chart.endpoints.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Endpoint(&row), "webhook_endpoints")
        }
        "removal" => {
            let row = chart.removals.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Removal(&row), "webhook_removals")
        }
        "audit" => {
            let row = chart.audits.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Audit(&row), "audit_log")
        }
        "set" => {
            let row = chart.sets.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Set(&row), "account_sets")
        }
        "member" => {
            let row = chart.members.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Member(&row), "account_set_members")
        }
        "statement" => {
            let row = chart.statements.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Statement(&row), "external_statements")
        }
        "withdrawal" => {
            let row = chart.withdrawals.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Withdrawal(&row), "external_withdrawals")
        }
        "match" => {
            let row = chart.matches.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Match(&row), "matches")
        }
        "unmatch" => {
            let row = chart.unmatches.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Unmatch(&row), "unmatches")
        }
        "signature" => {
            let row = chart.signatures.remove(&id).ok_or_else(gone)?;
            books.link(link, Record::Signature(&row), "head_signatures")
        }
        _ => Err(at(UNKNOWN.to_owned())),
    }
}

/// What is in a table but in no link was put there by somebody else.
async fn nothing_unchained(
    audit: &mut Audit,
    stream: &mut Stream,
    chart: &Chart,
) -> Result<(), VerifyError> {
    let unchained = |table: &'static str, row: String| Finding {
        table,
        row,
        what: "the chain does not know it".into(),
    };
    if let Some(transfer) = stream.next(audit).await? {
        return Err(unchained("transfers", format!("seq {}", transfer.seq)).into());
    }
    if let Some((table, row)) = stream.leftover(audit).await? {
        return Err(Finding { table, row, what: "it belongs to no transfer".into() }.into());
    }
    if let Some(code) = chart.currencies.keys().min() {
        return Err(unchained("currencies", format!("code {code}")).into());
    }
    if let Some(id) = chart.accounts.keys().min() {
        return Err(unchained("accounts", format!("id {id}")).into());
    }
    if let Some(id) = chart.limits.keys().min() {
        return Err(unchained("account_limits", format!("id {id}")).into());
    }
    let numbered = [
        ("closes", chart.closes.keys().min()),
        ("api_keys", chart.keys.keys().min()),
        ("api_key_revocations", chart.revocations.keys().min()),
        ("webhook_endpoints", chart.endpoints.keys().min()),
        ("webhook_removals", chart.removals.keys().min()),
        ("audit_log", chart.audits.keys().min()),
        ("account_sets", chart.sets.keys().min()),
        ("account_set_members", chart.members.keys().min()),
        ("external_statements", chart.statements.keys().min()),
        ("external_withdrawals", chart.withdrawals.keys().min()),
        ("matches", chart.matches.keys().min()),
        ("unmatches", chart.unmatches.keys().min()),
        ("head_signatures", chart.signatures.keys().min()),
    ];
    if let Some((table, Some(id))) = numbered.into_iter().find(|(_, id)| id.is_some()) {
        return Err(unchained(table, format!("id {id}")).into());
    }
    Ok(())
}
