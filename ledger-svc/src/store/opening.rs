//! Opening a database: for the service that writes it, for reading alone, and to bring it up to date. What the statements of
//! the migrations leave to be done to what earlier versions booked is done here.

use super::audit::Audit;
use super::durability::UnsafeSetting;
use super::engine::{Ahead, Lane, Writer};
use super::error::StoreError;
use super::migration::Migrated;
use super::reader::Reader;
use super::stream::Stream;
use super::url::{Access, DatabaseUrl};
use super::{mysql, postgres, sealed, sqlite, threading, unique};
use crate::chain::Record;
use crate::link::Head;

/// Links written in one statement while a database is chained for the first time.
const LINKS_AT_ONCE: usize = 1000;

/// A database opened for one service.
#[derive(Debug)]
pub struct Opened {
    pub writer: Writer,
    pub reader: Reader,
    pub ahead: Ahead,
    /// Empty unless `Access::allow_unsafe` was given and needed.
    pub unsafe_settings: Vec<UnsafeSetting>,
}

impl Opened {
    pub(super) async fn close(self) -> Result<(), StoreError> {
        self.reader.close().await;
        self.ahead.close().await;
        self.writer.close().await
    }
}

/// Opens the database for one service: takes its lock, refuses what is foreign or unsafe or would book twice, migrates
/// when it may, and proves by a write that it can be written.
pub async fn open(url: &DatabaseUrl, access: Access) -> Result<Opened, StoreError> {
    let opened = open_unheld(url, access).await?;
    let mut audit = Audit::open(url).await?;
    let mut columns = audit.not_unique().await?;
    audit.close().await?;
    columns.retain(|columns| unique::RELIED_ON.contains(columns));
    if columns.is_empty() {
        return Ok(opened);
    }
    opened.close().await?;
    Err(StoreError::Doubling { database: url.to_string(), columns })
}

/// The same, whatever became of its indexes.
pub(super) async fn open_unheld(url: &DatabaseUrl, access: Access) -> Result<Opened, StoreError> {
    let (lanes, reader, ahead, unsafe_settings) = match url {
        DatabaseUrl::Sqlite(file) => {
            let (writer, pool, ahead, unsafe_settings) = sqlite::open(file, access).await?;
            let lanes = vec![Lane::Sqlite(Box::new(writer))];
            (lanes, Reader::Sqlite(pool), Ahead::Sqlite(ahead), unsafe_settings)
        }
        DatabaseUrl::MySql(server) => {
            let (lanes, pool, ahead, unsafe_settings) = mysql::open(server, access).await?;
            let lanes = lanes.map(Lane::MySql).into();
            (lanes, Reader::MySql(pool), Ahead::MySql(ahead), unsafe_settings)
        }
        DatabaseUrl::Postgres(server) => {
            let (lanes, pool, ahead, unsafe_settings) = postgres::open(server, access).await?;
            let lanes = lanes.map(Lane::Postgres).into();
            (lanes, Reader::Postgres(pool), Ahead::Postgres(ahead), unsafe_settings)
        }
    };
    let mut writer = Writer::of(lanes);
    if !is_complete(url).await? {
        if !access.migrate {
            let (database, url) = (url.to_string(), url.to_string());
            return Err(StoreError::Unmigrated { database, url });
        }
        complete(url, &mut writer).await?;
    }
    Ok(Opened { writer, reader, ahead, unsafe_settings })
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(url: &DatabaseUrl, allow_unsafe: bool) -> Result<Migrated, StoreError> {
    let migrated = match url {
        DatabaseUrl::Sqlite(file) => sqlite::migrate(file, allow_unsafe).await,
        DatabaseUrl::MySql(server) => mysql::migrate(server, allow_unsafe).await,
        DatabaseUrl::Postgres(server) => postgres::migrate(server, allow_unsafe).await,
    }?;
    if !is_complete(url).await? {
        // Opening does the rest.
        open_unheld(url, Access { migrate: true, allow_unsafe }).await?.close().await?;
    }
    Ok(migrated)
}

/// Reading connections to a current database, which a service may be writing meanwhile.
pub async fn read_only(url: &DatabaseUrl) -> Result<Reader, StoreError> {
    let mut audit = Audit::open(url).await?;
    audit.check_migrations(url).await?;
    audit.close().await?;
    Ok(match url {
        DatabaseUrl::Sqlite(file) => Reader::Sqlite(sqlite::readers(file)),
        DatabaseUrl::MySql(server) => Reader::MySql(mysql::readers(server)),
        DatabaseUrl::Postgres(server) => Reader::Postgres(postgres::readers(server)),
    })
}

/// Whether everything that is there is chained, sealed and has its way back.
async fn is_complete(url: &DatabaseUrl) -> Result<bool, StoreError> {
    let mut audit = Audit::open(url).await?;
    let complete =
        audit.is_threaded().await? && audit.is_chained().await? && audit.is_sealed().await?;
    audit.close().await?;
    Ok(complete)
}

/// What the statements of the migrations leave to be done to what earlier versions booked.
async fn complete(url: &DatabaseUrl, writer: &mut Writer) -> Result<(), StoreError> {
    let mut audit = Audit::open(url).await?;
    let (threaded, chained) = (audit.is_threaded().await?, audit.is_chained().await?);
    let sealed = audit.is_sealed().await?;
    audit.close().await?;
    if !threaded {
        threading::thread(writer).await?;
    }
    if !chained {
        chain_what_is_there(url, writer).await?;
    }
    if !sealed {
        sealed::seal(writer).await?;
    }
    Ok(())
}

/// Gives everything that was booked before there was a chain its links, in one SQL transaction: the
/// chart in the order of codes and ids, then the transfers.
async fn chain_what_is_there(url: &DatabaseUrl, writer: &mut Writer) -> Result<(), StoreError> {
    let mut audit = Audit::open(url).await?;
    let mut batch = writer.begin().await?;
    let mut head = Head::default();
    let mut links = Vec::new();
    for currency in audit.currencies().await? {
        links.push(head.extend(Record::Currency(&currency)));
    }
    for account in audit.accounts().await? {
        links.push(head.extend(Record::Account(&account)));
    }
    for limits in audit.limits().await? {
        links.push(head.extend(Record::Limits(&limits)));
    }
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(&mut audit).await? {
        links.push(head.extend(Record::Transfer(&transfer)));
        if links.len() >= LINKS_AT_ONCE {
            batch.write_links(&links).await?;
            links.clear();
        }
    }
    if !links.is_empty() {
        batch.write_links(&links).await?;
    }
    batch.commit().await?;
    audit.close().await
}
