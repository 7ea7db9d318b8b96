//! What the links about keys, webhooks and the audit log are made of: every column that is part of the books.

use super::Digesting;
use crate::act::{AuditRow, RevocationRow};
use crate::key::ApiKeyRow;
use crate::outbox::{EndpointRow, RemovalRow};

pub fn key(row: &ApiKeyRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.text(&row.name);
    digest.text(&row.prefix);
    digest.bytes(&row.hash);
    digest.text(row.role.as_str());
    digest.number_if_any(row.rate.map(|rate| rate.per_second.into()));
    digest.number_if_any(row.rate.map(|rate| rate.burst.into()));
    digest.number(row.created_at_us);
    digest.number_if_any(row.expires_at_us);
}

pub fn revocation(row: &RevocationRow, digest: &mut Digesting) {
    digest.number(row.key_id);
    digest.number(row.revoked_at_us);
}

pub fn endpoint(row: &EndpointRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.text(&row.url);
    digest.text(&row.description);
    digest.bytes(row.secret.bytes());
    digest.number(row.after_seq);
    digest.number(row.created_at_us);
}

pub fn removal(row: &RemovalRow, digest: &mut Digesting) {
    digest.number(row.endpoint_id);
    digest.number(row.removed_at_us);
}

pub fn audit(row: &AuditRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.number(row.at_us);
    digest.text(&row.actor);
    digest.text(&row.action);
    digest.text(&row.subject);
    digest.text(&row.detail);
}
