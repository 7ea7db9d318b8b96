//! The chart and what administrators did, read whole: each row by the number its link of the chain has it by.

use std::collections::HashMap;

use crate::account::{Account, CurrencyBody};
use crate::account_set::{MemberRow, SetRow};
use crate::act::{AuditRow, RevocationRow};
use crate::close::CloseRow;
use crate::key::ApiKeyRow;
use crate::outbox::{EndpointRow, RemovalRow};
use crate::posting::LimitsRow;
use crate::reconcile::{MatchRow, StatementRow, UnmatchRow, WithdrawalRow};
use crate::signature::SignatureRow;
use crate::store::{Audit, StoreError};

/// The chart by the subjects of its links.
pub struct Chart {
    pub currencies: HashMap<String, CurrencyBody>,
    pub accounts: HashMap<i64, Account>,
    pub limits: HashMap<i64, LimitsRow>,
    pub closes: HashMap<i64, CloseRow>,
    pub keys: HashMap<i64, ApiKeyRow>,
    pub revocations: HashMap<i64, RevocationRow>,
    pub endpoints: HashMap<i64, EndpointRow>,
    pub removals: HashMap<i64, RemovalRow>,
    pub audits: HashMap<i64, AuditRow>,
    pub sets: HashMap<i64, SetRow>,
    pub members: HashMap<i64, MemberRow>,
    pub statements: HashMap<i64, StatementRow>,
    pub withdrawals: HashMap<i64, WithdrawalRow>,
    pub matches: HashMap<i64, MatchRow>,
    pub unmatches: HashMap<i64, UnmatchRow>,
    pub signatures: HashMap<i64, SignatureRow>,
}

impl Chart {
    pub async fn read(audit: &mut Audit) -> Result<Self, StoreError> {
        Ok(Self {
            currencies: keyed(audit.currencies().await?, |row| row.code.clone()),
            accounts: keyed(audit.accounts().await?, |row| row.id),
            limits: keyed(audit.limits().await?, |row| row.id),
            closes: keyed(audit.closes().await?, |row| row.id),
            keys: keyed(audit.api_keys().await?, |row| row.id),
            revocations: keyed(audit.revocations().await?, |row| row.key_id),
            endpoints: keyed(audit.endpoints().await?, |row| row.id),
            removals: keyed(audit.removals().await?, |row| row.endpoint_id),
            audits: keyed(audit.audit_log().await?, |row| row.id),
            sets: keyed(audit.sets().await?, |row| row.id),
            members: keyed(audit.members().await?, |row| row.id),
            statements: keyed(audit.statements().await?, |row| row.id),
            withdrawals: keyed(audit.withdrawals().await?, |row| row.statement_id),
            matches: keyed(audit.matches().await?, |row| row.id),
            unmatches: keyed(audit.unmatches().await?, |row| row.match_id),
            signatures: keyed(audit.signatures().await?, |row| row.id),
        })
    }
}

fn keyed<K: std::hash::Hash + Eq, T>(rows: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
