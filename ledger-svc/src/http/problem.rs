//! Every error the service answers with, as one table, in the form of RFC 9457 problem details.

mod from;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::interchange::Fault;
use crate::posting::Imbalance;

/// What kind of error; the last part of the problem's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    MalformedRequest,
    MalformedJson,
    InvalidParameter,
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    AccountNotFound,
    TransferNotFound,
    CloseNotFound,
    KeyNotFound,
    WebhookNotFound,
    MatchNotFound,
    StatementNotFound,
    SetNotFound,
    MethodNotAllowed,
    RequestTimeout,
    AlreadyExists,
    TransferNotPending,
    TransferNotReversible,
    ExpectationFailed,
    PeriodClosed,
    IdempotencyKeyReused,
    TooManyKeys,
    TooManyWebhooks,
    MatchRefused,
    WithdrawalRefused,
    Unwritable,
    PreconditionFailed,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidBody,
    InvalidText,
    UnknownCurrency,
    UnknownAccount,
    InvalidAmount,
    Unbalanced,
    BalanceOverflow,
    LimitExceeded,
    HoldExceeded,
    ExpiresInPast,
    PeriodNotOver,
    PreconditionRequired,
    TooManyRequests,
    HeadersTooLarge,
    Internal,
    QueueFull,
    Stopping,
    DatabaseUnavailable,
    TimedOut,
    TooManyStreams,
    TooManyExports,
}

/// A row of the table.
#[derive(Debug)]
pub struct KindRow {
    pub kind: Kind,
    pub name: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// For the documentation: when it happens and what to do.
    pub meaning: &'static str,
}

const fn row(
    kind: Kind,
    status: u16,
    name: &'static str,
    title: &'static str,
    meaning: &'static str,
) -> KindRow {
    KindRow { kind, name, status, title, meaning }
}

/// In the order of `Kind`.
pub const KINDS: [KindRow; 53] = [
    row(
        Kind::MalformedRequest,
        400,
        "malformed-request",
        "The request is malformed",
        "The body or path could not be read as HTTP says it should be.",
    ),
    row(
        Kind::MalformedJson,
        400,
        "malformed-json",
        "The body is not JSON",
        "`line` and `column` say where.",
    ),
    row(
        Kind::InvalidParameter,
        400,
        "invalid-parameter",
        "A parameter is not valid",
        "A query parameter is unknown, out of its range or of another type.",
    ),
    row(
        Kind::IdempotencyKeyMissing,
        400,
        "idempotency-key-missing",
        "The Idempotency-Key header is missing",
        "Send a unique value per transfer, and the same value when retrying.",
    ),
    row(
        Kind::IdempotencyKeyInvalid,
        400,
        "idempotency-key-invalid",
        "The Idempotency-Key header is not valid",
        "Send one header of 1 to 255 visible ASCII characters.",
    ),
    row(
        Kind::Unauthenticated,
        401,
        "unauthenticated",
        "Who asks is not known",
        "Send a valid API key as `Authorization: Bearer …`.",
    ),
    row(
        Kind::Forbidden,
        403,
        "forbidden",
        "The API key may not do this",
        "`detail` names the roles that may.",
    ),
    row(Kind::NotFound, 404, "not-found", "There is nothing here", "No route has this path."),
    row(
        Kind::AccountNotFound,
        404,
        "account-not-found",
        "There is no such account",
        "The path names an account that does not exist.",
    ),
    row(
        Kind::TransferNotFound,
        404,
        "transfer-not-found",
        "There is no such transfer",
        "The path names a transfer that does not exist.",
    ),
    row(
        Kind::CloseNotFound,
        404,
        "close-not-found",
        "There is no such close",
        "The path names a close that does not exist.",
    ),
    row(
        Kind::KeyNotFound,
        404,
        "key-not-found",
        "There is no such API key",
        "The path names a key that does not exist.",
    ),
    row(
        Kind::WebhookNotFound,
        404,
        "webhook-not-found",
        "There is no such webhook",
        "The path names a webhook that does not exist.",
    ),
    row(
        Kind::MatchNotFound,
        404,
        "match-not-found",
        "There is no such match",
        "The path names a match that does not exist.",
    ),
    row(
        Kind::StatementNotFound,
        404,
        "statement-not-found",
        "There is no such statement",
        "The path names a statement that does not exist.",
    ),
    row(
        Kind::SetNotFound,
        404,
        "set-not-found",
        "There is no such account set",
        "The path names an account set that does not exist.",
    ),
    row(
        Kind::MethodNotAllowed,
        405,
        "method-not-allowed",
        "The method is not allowed here",
        "`Allow` lists the methods that are.",
    ),
    row(
        Kind::RequestTimeout,
        408,
        "request-timeout",
        "The body took too long to arrive",
        "Nothing was done; send it again.",
    ),
    row(
        Kind::AlreadyExists,
        409,
        "already-exists",
        "The code is taken",
        "A currency or account of this code exists with other properties. Creating it again with the same ones answers 200.",
    ),
    row(
        Kind::TransferNotPending,
        409,
        "transfer-not-pending",
        "The transfer is not pending",
        "Only a pending transfer can be posted or voided, and only once; it may have been posted, voided or expired before.",
    ),
    row(
        Kind::TransferNotReversible,
        409,
        "transfer-not-reversible",
        "The transfer cannot be reversed",
        "Only a posted transfer can be reversed, and only once; void a pending one.",
    ),
    row(
        Kind::ExpectationFailed,
        409,
        "expectation-failed",
        "An account does not stand as expected",
        "`expect` names a version, balance or amount available that an account does not have; read it again and decide anew.",
    ),
    row(
        Kind::PeriodClosed,
        409,
        "period-closed",
        "The period is closed",
        "The effective date, or the day to close, lies in a period that is closed; give a later one.",
    ),
    row(
        Kind::IdempotencyKeyReused,
        409,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another transfer",
        "The key belongs to a posted transfer with another body; nothing was posted now.",
    ),
    row(
        Kind::TooManyKeys,
        409,
        "too-many-keys",
        "Too many API keys are in force",
        "Revoke one, or raise the service's `--keys-max`.",
    ),
    row(
        Kind::TooManyWebhooks,
        409,
        "too-many-webhooks",
        "Too many webhooks are registered",
        "Remove one, or raise the service's `--webhooks-max`.",
    ),
    row(
        Kind::MatchRefused,
        409,
        "match-refused",
        "Lines and entries do not match",
        "One of them is matched already, is not of this account, or both sides come to different sums.",
    ),
    row(
        Kind::WithdrawalRefused,
        409,
        "withdrawal-refused",
        "The statement cannot be withdrawn",
        "Some of its lines are matched, or are in a later statement too, or it was withdrawn before; `detail` names them.",
    ),
    row(
        Kind::Unwritable,
        409,
        "unwritable",
        "The books cannot be written so",
        "`detail` names what this format has no way to say; CSV can say everything.",
    ),
    row(
        Kind::PreconditionFailed,
        412,
        "precondition-failed",
        "It is not what was seen",
        "It is no longer what `If-Match` names, or has no tag; nothing was done. Read it again and decide anew.",
    ),
    row(
        Kind::BodyTooLarge,
        413,
        "body-too-large",
        "The body is too large",
        "Split the request; the limit is in `detail`.",
    ),
    row(
        Kind::UnsupportedMediaType,
        415,
        "unsupported-media-type",
        "The body must be JSON",
        "Send `Content-Type: application/json`.",
    ),
    row(
        Kind::InvalidBody,
        422,
        "invalid-body",
        "The body is not what is expected here",
        "A field is missing, unknown, of another type or breaks its rule; `field`, `line` and `column` say where.",
    ),
    row(
        Kind::InvalidText,
        422,
        "invalid-text",
        "The text cannot be booked",
        "`faults` says what is wrong at which line of the text.",
    ),
    row(
        Kind::UnknownCurrency,
        422,
        "unknown-currency",
        "There is no such currency",
        "Create the currency first.",
    ),
    row(
        Kind::UnknownAccount,
        422,
        "unknown-account",
        "An account does not exist",
        "Nothing was posted; create the account and send the transfer again, under the same key if you like.",
    ),
    row(
        Kind::InvalidAmount,
        422,
        "invalid-amount",
        "An amount does not fit its currency",
        "It has more decimals than the currency's scale or is beyond 64 bits of minor units.",
    ),
    row(
        Kind::Unbalanced,
        422,
        "unbalanced",
        "Debits and credits differ",
        "`imbalances` gives both sums for each currency that does not balance.",
    ),
    row(
        Kind::BalanceOverflow,
        422,
        "balance-overflow",
        "A balance would overflow",
        "An account's total would leave 64 bits of minor units; nothing was posted.",
    ),
    row(
        Kind::LimitExceeded,
        422,
        "limit-exceeded",
        "An account's limit would be exceeded",
        "What is available would fall below the account's lowest balance, or its balance could rise above the highest; nothing was booked.",
    ),
    row(
        Kind::HoldExceeded,
        422,
        "hold-exceeded",
        "More is to be posted than is held",
        "A pending transfer can be posted up to its amounts, on its own accounts and sides.",
    ),
    row(
        Kind::ExpiresInPast,
        422,
        "expires-in-past",
        "The transfer would have expired already",
        "`expires_at` must be later than the time of booking.",
    ),
    row(
        Kind::PeriodNotOver,
        422,
        "period-not-over",
        "The period is not over",
        "A period is closed through a day that is over in UTC.",
    ),
    row(
        Kind::PreconditionRequired,
        428,
        "precondition-required",
        "What is replaced must have been seen",
        "Send `If-Match` with the `ETag` of what is replaced, or `*` for whatever there is.",
    ),
    row(
        Kind::TooManyRequests,
        429,
        "too-many-requests",
        "The API key asks too often",
        "Wait for `Retry-After` seconds; nothing was done.",
    ),
    row(
        Kind::HeadersTooLarge,
        431,
        "headers-too-large",
        "The header fields are too large",
        "Send fewer or shorter ones.",
    ),
    row(
        Kind::Internal,
        500,
        "internal",
        "Something went wrong in the service",
        "The log has the reason.",
    ),
    row(
        Kind::QueueFull,
        503,
        "queue-full",
        "Too many writes are waiting",
        "Nothing was done; wait for `Retry-After` seconds and send it again.",
    ),
    row(
        Kind::Stopping,
        503,
        "stopping",
        "The service is stopping",
        "Send it again, a transfer under the same key.",
    ),
    row(
        Kind::DatabaseUnavailable,
        503,
        "database-unavailable",
        "The database could not answer",
        "Whether a write was done is open; send it again, a transfer under the same key.",
    ),
    row(
        Kind::TimedOut,
        503,
        "timed-out",
        "The answer took too long",
        "Whether a write was done is open; send it again, a transfer under the same key.",
    ),
    row(
        Kind::TooManyStreams,
        503,
        "too-many-streams",
        "Too many event streams are open",
        "Wait for `Retry-After` seconds and ask again.",
    ),
    row(
        Kind::TooManyExports,
        503,
        "too-many-exports",
        "Too many exports are under way",
        "Wait for `Retry-After` seconds and ask again, or raise the service's `--exports-max`.",
    ),
];

/// Seconds a client should wait before it retries a 503.
const RETRY_AFTER_S: &str = "1";

impl Kind {
    pub fn row(self) -> &'static KindRow {
        &KINDS[self as usize]
    }
}

impl KindRow {
    /// The problem's `type`. An identifier, not an address.
    pub fn type_uri(&self) -> String {
        format!("urn:forebay:ledger:problem:{}", self.name)
    }
}

/// An error (RFC 9457). `type` identifies it; programs should not read `detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    #[serde(rename = "type")]
    #[schema(example = "urn:forebay:ledger:problem:unbalanced")]
    pub type_uri: String,
    #[schema(example = "Debits and credits differ")]
    pub title: String,
    #[schema(example = 422)]
    pub status: u16,
    /// What was wrong with this request.
    pub detail: String,
    /// The field of the body, such as `entries[1].amount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Line of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column of that line in bytes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// With `unbalanced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imbalances: Option<Vec<Imbalance>>,
    /// With `invalid-text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Fault>>,
}

/// A problem on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    details: Box<Details>,
    /// One header field that goes with it.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let row = kind.row();
        let details = Details {
            type_uri: row.type_uri(),
            title: row.title.to_owned(),
            status: row.status,
            detail: detail.into(),
            field: None,
            line: None,
            column: None,
            imbalances: None,
            faults: None,
        };
        Self { kind, details: Box::new(details), header: None }
    }

    /// Adds a header field.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        // The service writes these values itself, of visible ASCII characters.
        self.header = value.parse().ok().map(|value| Box::new((name, value)));
        self
    }

    pub fn at(mut self, field: String) -> Self {
        self.details.field = (!field.is_empty()).then_some(field);
        self
    }

    /// The problem of a part of the body, which `part` names.
    pub fn within(mut self, part: &str) -> Self {
        self.details.detail = format!("{part}: {}", self.details.detail);
        self.details.field = Some(match self.details.field {
            Some(field) => format!("{part}.{field}"),
            None => part.to_owned(),
        });
        self
    }

    pub fn json(&self) -> String {
        serde_json::to_string(&*self.details).expect("strings and numbers serialise")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.kind.row();
        let mut response = self.json().into_response();
        *response.status_mut() =
            StatusCode::from_u16(row.status).expect("the table has valid statuses");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if row.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if let Some((name, value)) = self.header.map(|header| *header) {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}

/// The media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        let mut names = HashSet::new();
        for (index, row) in KINDS.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
            assert!(names.insert(row.name));
            assert!(StatusCode::from_u16(row.status).unwrap().as_u16() >= 400);
        }
    }
}
