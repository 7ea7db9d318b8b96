//! What the links about keys, webhooks, reconciliation, signatures and the audit log are made of: every column that is part of the books.

use crate::account_set::{MemberRow, SetRow};
use crate::act::{AuditRow, RevocationRow};
use crate::key::ApiKeyRow;
use crate::link::Digesting;
use crate::outbox::{EndpointRow, RemovalRow};
use crate::reconcile::{MatchRow, StatementRow, UnmatchRow, WithdrawalRow};
use crate::signature::SignatureRow;

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

pub fn statement(row: &StatementRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.number(row.account_id);
    digest.text(&row.name);
    digest.text(&row.format);
    digest.bytes(&row.hash);
    digest.number_if_any(row.opening_minor);
    digest.number_if_any(row.closing_minor);
    digest.text(&row.first_date);
    digest.text(&row.last_date);
    digest.number(row.line_count);
    digest.number(row.imported_at_us);
    for line in &row.lines {
        digest.number(line.id);
        digest.number(line.statement_id);
        digest.number(line.number);
        digest.text(&line.date);
        digest.number(line.amount_minor);
        digest.text(&line.reference);
        digest.text(&line.text);
    }
    // Of a statement without any, the link is what it was before there were identities. The words are no numbers' length.
    for line in row.lines.iter().filter(|line| !line.identity.is_empty()) {
        digest.text("line's identity");
        digest.number(line.id);
        digest.text(&line.identity);
    }
    for repeat in &row.repeats {
        digest.text("repeated line");
        digest.number(repeat.number);
        digest.number(repeat.line_id);
    }
}

pub fn withdrawal(row: &WithdrawalRow, digest: &mut Digesting) {
    digest.number(row.statement_id);
    digest.text(&row.reason);
    digest.number(row.withdrawn_at_us);
}

pub fn matched(row: &MatchRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.number(row.account_id);
    digest.text(&row.rule);
    digest.text(&row.reason);
    digest.number(row.matched_at_us);
    for (what, ids) in [("lines", &row.lines), ("entries", &row.entries)] {
        digest.text(what);
        ids.iter().for_each(|id| digest.number(*id));
    }
}

pub fn unmatch(row: &UnmatchRow, digest: &mut Digesting) {
    digest.number(row.match_id);
    digest.text(&row.reason);
    digest.number(row.unmatched_at_us);
}

pub fn signature(row: &SignatureRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.number(row.head.seq);
    digest.bytes(&row.head.hash);
    digest.bytes(&row.public_key);
    digest.bytes(&row.signature);
    digest.number(row.signed_at_us);
}

pub fn set(row: &SetRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.text(&row.code);
    digest.text(&row.name);
    digest.number(row.created_at_us);
}

pub fn member(row: &MemberRow, digest: &mut Digesting) {
    digest.number(row.id);
    digest.number(row.set_id);
    digest.number_if_any(row.account_id);
    digest.number_if_any(row.member_set_id);
    digest.number(row.added_at_us);
}
