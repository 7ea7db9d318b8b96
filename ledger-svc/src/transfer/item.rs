//! Requests in a batch: each with its key, otherwise exactly what is sent alone.

use serde::Deserialize;
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::{PostBody, ReverseBody, TransferBody, VoidBody};
use super::error::TransferError;
use super::key::{IdempotencyKey, KeyError};
use super::request::TransferRequest;
use super::{follow, new};
use crate::json;

/// What a client posts to `/v1/batches`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// Book all or, when one is refused, none. Otherwise each stands for itself.
    #[serde(default)]
    pub all_or_nothing: bool,
    /// Decided in this order, each seeing what those before it did.
    #[serde(deserialize_with = "json::objects")]
    #[schema(min_items = 1, max_items = 1000)]
    pub transfers: Vec<BatchItem>,
}

/// One request of a batch, or one line of `/v1/batches.ndjson`: a key and exactly one of `transfer`,
/// `post`, `void` and `reverse`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// What the `Idempotency-Key` header says of a single request. The same key means the same request,
    /// however it is sent.
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057", min_length = 1, max_length = 255)]
    pub key: String,
    /// The transfer that `post`, `void` or `reverse` is about.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub of: Option<Uuid>,
    /// As posted to `/v1/transfers`.
    #[serde(default, deserialize_with = "json::object_if_any")]
    pub transfer: Option<TransferBody>,
    /// As posted to `/v1/transfers/{id}/post`.
    #[serde(default, deserialize_with = "json::object_if_any")]
    pub post: Option<PostBody>,
    /// As posted to `/v1/transfers/{id}/void`.
    #[serde(default, deserialize_with = "json::object_if_any")]
    pub void: Option<VoidBody>,
    /// As posted to `/v1/transfers/{id}/reverse`.
    #[serde(default, deserialize_with = "json::object_if_any")]
    pub reverse: Option<ReverseBody>,
}

/// Why an item is no request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ItemError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("an item has exactly one of transfer, post, void and reverse")]
    NotOne,
    #[error("post, void and reverse need `of`, the id of the transfer they are about")]
    OfMissing,
    #[error("`of` is for post, void and reverse; a transfer has none")]
    OfNotWanted,
}

impl BatchItem {
    /// A new transfer under a key.
    pub fn transfer(key: String, body: TransferBody) -> Self {
        Self { key, of: None, transfer: Some(body), post: None, void: None, reverse: None }
    }

    /// The request, checked as when it is sent alone.
    pub fn request(self, entries_max: usize) -> Result<TransferRequest, ItemError> {
        let key = IdempotencyKey::parse(self.key.as_bytes())?;
        let of = self.of.ok_or(ItemError::OfMissing);
        Ok(match (self.transfer, self.post, self.void, self.reverse) {
            (Some(_), None, None, None) if of.is_ok() => return Err(ItemError::OfNotWanted),
            (Some(body), None, None, None) => new::request(key, body, entries_max)?,
            (None, Some(body), None, None) => follow::post(key, of?, body, entries_max)?,
            (None, None, Some(body), None) => follow::void(key, of?, body)?,
            (None, None, None, Some(body)) => follow::reverse(key, of?, body)?,
            _ => return Err(ItemError::NotOne),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer;

    const BODY: &str = r#"{"description":"d","entries":[{"account":"a","direction":"debit","amount":"1"},{"account":"b","direction":"credit","amount":"1"}]}"#;
    const OF: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn request(line: &str) -> Result<TransferRequest, ItemError> {
        json::read::<BatchItem>(line.as_bytes()).map_err(TransferError::from)?.request(10)
    }

    #[test]
    fn an_item_is_the_request_that_would_be_sent_alone() {
        let item = request(&format!(r#"{{"key":"k","transfer":{BODY}}}"#)).unwrap();
        let key = || IdempotencyKey::parse(b"k").unwrap();
        let alone = transfer::parse(key(), BODY.as_bytes(), 10).unwrap();
        assert_eq!((item.key, item.fingerprint), (alone.key, alone.fingerprint));
        let nulls = format!(r#"{{"key":"k","of":null,"transfer":{BODY},"post":null}}"#);
        assert_eq!(request(&nulls).unwrap().fingerprint, alone.fingerprint);
        let whole = r#"{"entries":null,"description":null}"#;
        let item = request(&format!(r#"{{"key":"k","of":"{OF}","post":{whole}}}"#)).unwrap();
        let alone = transfer::parse_post(key(), OF.parse().unwrap(), b"{}", 10).unwrap();
        assert_eq!(item.fingerprint, alone.fingerprint);
        let item = request(&format!(r#"{{"key":"k","of":"{OF}","void":{{}}}}"#)).unwrap();
        let alone = transfer::parse_void(key(), OF.parse().unwrap(), b"{}").unwrap();
        assert_eq!(item.fingerprint, alone.fingerprint);
    }

    #[test]
    fn an_item_says_one_thing() {
        let cases = [
            (r#"{"key":"k"}"#.to_owned(), ItemError::NotOne),
            (format!(r#"{{"key":"k","of":"{OF}","post":{{}},"void":{{}}}}"#), ItemError::NotOne),
            (r#"{"key":"k","void":{}}"#.to_owned(), ItemError::OfMissing),
            (format!(r#"{{"key":"k","of":"{OF}","transfer":{BODY}}}"#), ItemError::OfNotWanted),
            (format!(r#"{{"key":"","transfer":{BODY}}}"#), ItemError::Key(KeyError::Length(0))),
        ];
        for (line, error) in cases {
            assert_eq!(request(&line).unwrap_err(), error, "{line}");
        }
        let shape = request(r#"{"key":"k","of":"x","void":{}}"#).unwrap_err();
        assert!(matches!(shape, ItemError::Transfer(TransferError::Json(_))), "{shape}");
        assert!(request(r#"{"key":"k","void":[]}"#).is_err(), "fields have names");
    }
}
