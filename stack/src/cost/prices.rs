//! The table of prices: `stack/prices/aws.json`, part of the program. EC2's are of each region, from
//! `tools/prices.py`; all others are those of us-east-1, and follow EC2's from region to region.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rust_decimal::Decimal;
use serde::Deserialize;

const TABLE: &str = include_str!("../../prices/aws.json");

/// The region whose prices the table has in full.
const HOME: &str = "us-east-1";
/// The family that stands for a region's level of prices: every region has it.
const LEVEL: &str = "m6g";

/// Prices of `large`, by family.
type Families = BTreeMap<String, Decimal>;

#[derive(Default, Deserialize)]
struct Table {
    date: String,
    ec2_date: String,
    rds: BTreeMap<String, Families>,
    aurora: Families,
    elasticache: Families,
    valkey_share: Decimal,
    hour: BTreeMap<String, Decimal>,
    month: BTreeMap<String, Decimal>,
    ec2: BTreeMap<String, Families>,
}

/// The table. One that cannot be read is empty, and then everything is without a price: loud.
fn table() -> &'static Table {
    static PRICES: OnceLock<Table> = OnceLock::new();
    PRICES.get_or_init(|| serde_json::from_str(TABLE).unwrap_or_default())
}

/// Of when the prices of EC2 are, and of when all others.
pub fn dates() -> (&'static str, &'static str) {
    (&table().ec2_date, &table().date)
}

/// Which instances a type is one of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fleet {
    Ec2,
    /// RDS, and whether it speaks PostgreSQL.
    Database(bool),
    Aurora,
    /// ElastiCache, and whether it runs Valkey.
    Cache(bool),
}

/// Dollars an hour of an instance: `c7g.large`, `db.r7g.2xlarge`, `cache.t4g.small`.
pub(super) fn instance(region: &str, fleet: Fleet, kind: &str) -> Option<Decimal> {
    let plain = kind.trim_start_matches("db.").trim_start_matches("cache.");
    let (family, size) = plain.split_once('.')?;
    let share = share(size)?;
    let table = table();
    let (large, level) = match fleet {
        Fleet::Ec2 => (table.ec2.get(region)?.get(family)?, Decimal::ONE),
        Fleet::Database(postgres) => {
            let engine = if postgres { "postgres" } else { "mysql" };
            (table.rds.get(engine)?.get(family)?, level(region)?)
        }
        Fleet::Aurora => (table.aurora.get(family)?, level(region)?),
        Fleet::Cache(valkey) => {
            let share = if valkey { table.valkey_share } else { Decimal::ONE };
            (table.elasticache.get(family)?, level(region)? * share)
        }
    };
    Some(large * share * level)
}

/// Processors of an instance, as RDS Proxy counts them.
pub fn processors(kind: &str) -> Option<Decimal> {
    Some((share(kind.rsplit('.').next()?)? * Decimal::TWO).max(Decimal::TWO))
}

/// A price by the hour, of those in the table.
pub(super) fn hourly(region: &str, name: &str) -> Option<Decimal> {
    Some(table().hour.get(name)? * level(region)?)
}

/// A price by the month. Those of keys, alarms and the like are the same everywhere; storage is not.
pub(super) fn monthly(region: &str, name: &str) -> Option<Decimal> {
    let price = *table().month.get(name)?;
    Some(if name.ends_with("_gib") { price * level(region)? } else { price })
}

/// A region's prices against those of us-east-1; none for a region the table does not have.
fn level(region: &str) -> Option<Decimal> {
    let of = |region: &str| table().ec2.get(region)?.get(LEVEL).copied();
    of(region)?.checked_div(of(HOME)?)
}

/// A size against `large`.
fn share(size: &str) -> Option<Decimal> {
    let number = |text: &str| text.parse::<u32>().ok().map(Decimal::from);
    Some(match size {
        "nano" => Decimal::new(625, 4),
        "micro" => Decimal::new(125, 3),
        "small" => Decimal::new(25, 2),
        "medium" => Decimal::new(5, 1),
        "large" => Decimal::ONE,
        "xlarge" => Decimal::TWO,
        other => number(other.strip_suffix("xlarge")?)? * Decimal::TWO,
    })
}
