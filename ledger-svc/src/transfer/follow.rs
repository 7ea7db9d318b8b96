//! Requests that follow an earlier transfer: post or void a pending one, reverse a posted one.

use jiff::civil::Date;
use uuid::Uuid;

use super::body::{DESCRIPTION_CHARS_MAX, PostBody, ReverseBody, VoidBody};
use super::entry::check_entries;
use super::error::TransferError;
use super::fingerprint::Fingerprint;
use super::key::IdempotencyKey;
use super::request::{Action, TransferRequest};
use crate::json;
use crate::metadata::Metadata;
use crate::naming::validate_text;

/// Reads a request to post the pending transfer `of`.
pub fn parse_post(
    key: IdempotencyKey,
    of: Uuid,
    body: &[u8],
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    post(key, of, json::read(body)?, entries_max)
}

pub(super) fn post(
    key: IdempotencyKey,
    of: Uuid,
    body: PostBody,
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    check(body.description.as_deref(), body.metadata.as_ref())?;
    let mut print = begun("post-1", of, body.description.as_deref(), body.effective_date);
    if let Some(entries) = &body.entries {
        check_entries(entries, entries_max)?;
        print.entries(entries);
    }
    called(&mut print, body.metadata.as_ref());
    Ok(TransferRequest { key, fingerprint: print.done(), action: Action::Post { of, body } })
}

/// Reads a request to void the pending transfer `of`.
pub fn parse_void(
    key: IdempotencyKey,
    of: Uuid,
    body: &[u8],
) -> Result<TransferRequest, TransferError> {
    void(key, of, json::read(body)?)
}

pub(super) fn void(
    key: IdempotencyKey,
    of: Uuid,
    body: VoidBody,
) -> Result<TransferRequest, TransferError> {
    check(body.description.as_deref(), body.metadata.as_ref())?;
    let mut print = begun("void-1", of, body.description.as_deref(), None);
    called(&mut print, body.metadata.as_ref());
    Ok(TransferRequest { key, fingerprint: print.done(), action: Action::Void { of, body } })
}

/// Reads a request to reverse the posted transfer `of`.
pub fn parse_reverse(
    key: IdempotencyKey,
    of: Uuid,
    body: &[u8],
) -> Result<TransferRequest, TransferError> {
    reverse(key, of, json::read(body)?)
}

pub(super) fn reverse(
    key: IdempotencyKey,
    of: Uuid,
    body: ReverseBody,
) -> Result<TransferRequest, TransferError> {
    check(body.description.as_deref(), body.metadata.as_ref())?;
    let mut print = begun("reverse-1", of, body.description.as_deref(), body.effective_date);
    called(&mut print, body.metadata.as_ref());
    Ok(TransferRequest { key, fingerprint: print.done(), action: Action::Reverse { of, body } })
}

fn check(description: Option<&str>, metadata: Option<&Metadata>) -> Result<(), TransferError> {
    let description = description.unwrap_or_default();
    validate_text("description", description, DESCRIPTION_CHARS_MAX)?;
    Ok(metadata.map_or(Ok(()), Metadata::validate)?)
}

/// Adds nothing when there is none: old keys have to keep matching.
fn called(print: &mut Fingerprint, metadata: Option<&Metadata>) {
    if let Some(metadata) = metadata {
        print.metadata(metadata);
    }
}

fn begun(what: &str, of: Uuid, description: Option<&str>, date: Option<Date>) -> Fingerprint {
    let mut print = Fingerprint::new(what);
    print.field(&of.to_string());
    // Told apart from an empty one, which is kept.
    print.field(if description.is_some() { "described" } else { "" });
    print.field(description.unwrap_or_default());
    print.field(&date.map(|date| date.to_string()).unwrap_or_default());
    print
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_the_same_transfer_are_told_apart() {
        let key = || IdempotencyKey::parse(b"k").unwrap();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let part = br#"{"entries":[{"account":"a","direction":"debit","amount":"1"},{"account":"b","direction":"credit","amount":"1"}]}"#;
        let requests = [
            parse_post(key(), one, b"{}", 10),
            parse_post(key(), one, part, 10),
            parse_post(key(), one, br#"{"description":""}"#, 10),
            parse_post(key(), one, br#"{"effective_date":"2026-01-01"}"#, 10),
            parse_post(key(), other, b"{}", 10),
            parse_void(key(), one, b"{}"),
            parse_void(key(), one, br#"{"metadata":{}}"#),
            parse_void(key(), one, br#"{"metadata":{"a":"b"}}"#),
            parse_reverse(key(), one, b"{}"),
        ];
        let prints: std::collections::HashSet<[u8; 32]> =
            requests.iter().map(|request| request.as_ref().unwrap().fingerprint).collect();
        assert_eq!(prints.len(), requests.len());
        let few = parse_post(key(), one, br#"{"entries":[]}"#, 10).unwrap_err();
        assert_eq!(few, TransferError::TooFewEntries(0));
        assert!(parse_void(key(), one, br#"{"entries":[]}"#).is_err());
    }
}
