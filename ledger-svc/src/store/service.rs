//! The row of the service that writes: who has the database, and up to which entry its balances are written.

use crate::seal::{self, ServiceRow};

/// As `ServiceRow` has them.
pub const SERVICE: &str = "SELECT epoch, probed_at_us, balances_through FROM service WHERE id = 1";

impl ServiceRow {
    /// What `SERVICE` found.
    pub(super) fn found((epoch, probed_at_us, balances_through): (i64, i64, i64)) -> Self {
        Self { epoch, probed_at_us, balances_through }
    }

    /// Of the service that takes over.
    pub(super) fn next(self) -> Self {
        Self { epoch: self.epoch + 1, ..self }
    }

    /// The statement that writes it.
    pub(super) fn update(&self) -> String {
        let Self { epoch, probed_at_us, balances_through } = self;
        let seal = seal::of_service(self);
        format!(
            "UPDATE service SET epoch = {epoch}, probed_at_us = {probed_at_us}, balances_through = {balances_through},
                seal = '{seal}' WHERE id = 1"
        )
    }
}
