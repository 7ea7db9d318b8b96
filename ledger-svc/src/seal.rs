//! Seals of the rows that change and are no links of the chain therefore: how far webhooks have come, when keys were
//! used, and the service's own. A row that somebody else wrote does not bear the one it should. Pure.

use crate::hex::hex;
use crate::link::Digesting;
use crate::outbox::Progress;

const DOMAIN: &str = "forebay-ledger-seal-1";

/// The row of the service that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// Grows with every start; a writer that finds another has been replaced.
    pub epoch: i64,
    pub probed_at_us: i64,
    /// Up to which entry the rows of `balances` are written.
    pub balances_through: i64,
}

/// SHA-256 in hex digits.
pub fn of_progress(row: &Progress) -> String {
    let mut digest = of_table("webhook_progress", row.endpoint_id);
    digest.number(row.delivered_seq);
    digest.number(row.failures);
    digest.number_if_any(row.next_attempt_at_us);
    digest.number_if_any(row.suspended_at_us);
    digest.text(&row.error);
    hex(&digest.done())
}

/// SHA-256 in hex digits.
pub fn of_key_use(key_id: i64, last_used_at_us: Option<i64>) -> String {
    let mut digest = of_table("api_key_uses", key_id);
    digest.number_if_any(last_used_at_us);
    hex(&digest.done())
}

/// SHA-256 in hex digits.
pub fn of_service(row: &ServiceRow) -> String {
    let mut digest = of_table("service", 1);
    digest.number(row.epoch);
    digest.number(row.probed_at_us);
    digest.number(row.balances_through);
    hex(&digest.done())
}

fn of_table(table: &str, key: i64) -> Digesting {
    let mut digest = Digesting::new(DOMAIN);
    digest.text(table);
    digest.number(key);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_under_the_seal() {
        let row = Progress { endpoint_id: 1, delivered_seq: 2, failures: 3, ..Progress::default() };
        let others = [
            Progress { endpoint_id: 2, ..row.clone() },
            Progress { delivered_seq: 3, ..row.clone() },
            Progress { failures: 2, ..row.clone() },
            Progress { next_attempt_at_us: Some(0), ..row.clone() },
            Progress { suspended_at_us: Some(0), ..row.clone() },
            Progress { error: "x".into(), ..row.clone() },
        ];
        assert!(others.iter().all(|other| of_progress(other) != of_progress(&row)));
        let uses = [(1, None), (2, None), (1, Some(0)), (1, Some(1))];
        assert_all_differ(&uses.map(|(key, at)| of_key_use(key, at)));
        let service = ServiceRow { epoch: 1, probed_at_us: 2, balances_through: 3 };
        assert_all_differ(&[
            of_service(&service),
            of_service(&ServiceRow { epoch: 2, ..service }),
            of_service(&ServiceRow { probed_at_us: 1, ..service }),
            of_service(&ServiceRow { balances_through: 2, ..service }),
        ]);
    }

    fn assert_all_differ(seals: &[String]) {
        let different: std::collections::BTreeSet<_> = seals.iter().collect();
        assert_eq!(different.len(), seals.len());
    }
}
