//! The OpenAPI document: what the handlers declare, plus the problems of each operation, which
//! come from one table so that no handler has to repeat them.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder,
    example::ExampleBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

use super::access;
use super::precondition::COMPARED;
use super::problem::{self, KINDS, Kind};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Forebay ledger",
        description = "Double-entry ledger: amounts are exact decimals in JSON strings, transfers balance in every currency, and what is posted is never changed."
    ),
    tags(
        (name = "chart", description = "Currencies and accounts"),
        (name = "transfers", description = "Posting and looking up"),
        (name = "reports", description = "Balances, entries and the trial balance"),
        (name = "reconciliation", description = "What somebody else says of an account, held against its entries"),
        (name = "events", description = "What is booked, told to others: a stream, and webhooks"),
        (name = "administration", description = "API keys and the log of what administrators did"),
    ),
    components(schemas(problem::Details))
)]
pub struct Base;

/// Any operation may end so.
const ALWAYS: &[Kind] = &[
    Kind::InvalidParameter,
    Kind::Unauthenticated,
    Kind::Forbidden,
    Kind::TooManyRequests,
    Kind::HeadersTooLarge,
    Kind::Internal,
    Kind::DatabaseUnavailable,
    Kind::TimedOut,
];
/// Any operation that changes something: a tag it does not compare is refused.
const CHANGING: &[Kind] = &[Kind::PreconditionFailed];
/// Any operation that changes something and has nothing to be told of it.
const BODILESS: &[Kind] = &[
    Kind::PreconditionFailed,
    Kind::RequestTimeout,
    Kind::BodyTooLarge,
    Kind::InvalidBody,
    Kind::QueueFull,
    Kind::Stopping,
];
/// Any operation with a body.
const BODY: &[Kind] = &[
    Kind::MalformedRequest,
    Kind::MalformedJson,
    Kind::RequestTimeout,
    Kind::BodyTooLarge,
    Kind::UnsupportedMediaType,
    Kind::InvalidBody,
    Kind::PreconditionFailed,
    Kind::QueueFull,
    Kind::Stopping,
];
const OF_ACCOUNT: &[Kind] = &[Kind::MalformedRequest, Kind::AccountNotFound];
const OF_SET: &[Kind] = &[Kind::MalformedRequest, Kind::SetNotFound];
const OF_KEY: &[Kind] = &[Kind::MalformedRequest, Kind::KeyNotFound];
const OF_WEBHOOK: &[Kind] = &[Kind::MalformedRequest, Kind::WebhookNotFound];
const OF_CLOSE: &[Kind] = &[Kind::MalformedRequest, Kind::CloseNotFound];
/// Any operation that books something.
const KEY: &[Kind] =
    &[Kind::IdempotencyKeyMissing, Kind::IdempotencyKeyInvalid, Kind::IdempotencyKeyReused];
/// Any operation whose body has entries.
const POSTING: &[Kind] = &[
    Kind::UnknownAccount,
    Kind::InvalidAmount,
    Kind::Unbalanced,
    Kind::BalanceOverflow,
    Kind::LimitExceeded,
    Kind::ExpectationFailed,
    Kind::PeriodClosed,
    Kind::ExpiresInPast,
];
const EXPORTING: &[Kind] = &[Kind::Unwritable, Kind::TooManyExports];
const FOLLOWING: &[Kind] = &[Kind::TransferNotFound];

/// Every operation and the groups of problems it may end with.
const OPERATIONS: &[(&str, &[&[Kind]])] = &[
    ("createCurrency", &[ALWAYS, BODY, &[Kind::AlreadyExists]]),
    ("listCurrencies", &[ALWAYS]),
    ("createAccount", &[ALWAYS, BODY, &[Kind::AlreadyExists, Kind::UnknownCurrency]]),
    ("listAccounts", &[ALWAYS]),
    ("getAccount", &[ALWAYS, OF_ACCOUNT]),
    ("getBalance", &[ALWAYS, OF_ACCOUNT]),
    ("listEntries", &[ALWAYS, OF_ACCOUNT]),
    ("getStatement", &[ALWAYS, OF_ACCOUNT]),
    ("getStatementCsv", &[ALWAYS, OF_ACCOUNT]),
    ("getLimits", &[ALWAYS, OF_ACCOUNT]),
    ("setLimits", &[ALWAYS, BODY, OF_ACCOUNT, &[Kind::InvalidAmount, Kind::PreconditionRequired]]),
    ("createTransfer", &[ALWAYS, BODY, KEY, POSTING]),
    (
        "createBatch",
        &[
            ALWAYS,
            BODY,
            POSTING,
            FOLLOWING,
            &[
                Kind::IdempotencyKeyInvalid,
                Kind::IdempotencyKeyReused,
                Kind::TransferNotPending,
                Kind::HoldExceeded,
                Kind::TransferNotReversible,
            ],
        ],
    ),
    ("streamBatch", &[ALWAYS, CHANGING, &[Kind::UnsupportedMediaType]]),
    ("createImport", &[ALWAYS, BODY, &[Kind::InvalidText, Kind::UnknownCurrency]]),
    (
        "postTransfer",
        &[ALWAYS, BODY, KEY, POSTING, FOLLOWING, &[Kind::TransferNotPending, Kind::HoldExceeded]],
    ),
    ("voidTransfer", &[ALWAYS, BODY, KEY, FOLLOWING, &[Kind::TransferNotPending]]),
    (
        "reverseTransfer",
        &[
            ALWAYS,
            BODY,
            KEY,
            FOLLOWING,
            &[
                Kind::TransferNotReversible,
                Kind::BalanceOverflow,
                Kind::LimitExceeded,
                Kind::PeriodClosed,
            ],
        ],
    ),
    ("listTransfers", &[ALWAYS]),
    ("getTransfer", &[ALWAYS, &[Kind::MalformedRequest, Kind::TransferNotFound]]),
    ("getTrialBalance", &[ALWAYS]),
    ("getTrialBalanceAsOf", &[ALWAYS]),
    ("getBalanceAsOf", &[ALWAYS, OF_ACCOUNT]),
    ("listJournal", &[ALWAYS]),
    ("exportEntries", &[ALWAYS, EXPORTING]),
    ("exportAccounts", &[ALWAYS, EXPORTING]),
    ("exportBeancount", &[ALWAYS, EXPORTING]),
    ("exportLedger", &[ALWAYS, EXPORTING]),
    ("createClose", &[ALWAYS, BODY, &[Kind::PeriodClosed, Kind::PeriodNotOver]]),
    ("listCloses", &[ALWAYS]),
    ("getClose", &[ALWAYS, OF_CLOSE]),
    ("listCloseBalances", &[ALWAYS, OF_CLOSE]),
    ("createAccountSet", &[ALWAYS, BODY, &[Kind::AlreadyExists]]),
    ("listAccountSets", &[ALWAYS]),
    ("getAccountSet", &[ALWAYS, OF_SET]),
    ("addMembers", &[ALWAYS, BODY, OF_SET, &[Kind::UnknownAccount]]),
    ("listMembers", &[ALWAYS, OF_SET]),
    ("getAccountTree", &[ALWAYS]),
    ("getHead", &[ALWAYS]),
    ("listSignatures", &[ALWAYS]),
    ("importStatement", &[ALWAYS, BODY, OF_ACCOUNT, &[Kind::InvalidText]]),
    ("listStatements", &[ALWAYS, OF_ACCOUNT]),
    ("withdrawStatement", &[ALWAYS, BODY, &[Kind::StatementNotFound, Kind::WithdrawalRefused]]),
    ("listOpenLines", &[ALWAYS, OF_ACCOUNT]),
    ("listUnmatchedEntries", &[ALWAYS, OF_ACCOUNT]),
    ("getReconciliation", &[ALWAYS, OF_ACCOUNT]),
    ("runReconciliation", &[ALWAYS, BODY, OF_ACCOUNT]),
    ("createMatch", &[ALWAYS, BODY, OF_ACCOUNT, &[Kind::MatchRefused]]),
    ("listMatches", &[ALWAYS, OF_ACCOUNT]),
    ("createAdjustment", &[ALWAYS, BODY, OF_ACCOUNT, POSTING, &[Kind::MatchRefused]]),
    ("removeMatch", &[ALWAYS, BODY, &[Kind::MatchNotFound, Kind::MatchRefused]]),
    ("createKey", &[ALWAYS, BODY, &[Kind::TooManyKeys]]),
    ("listKeys", &[ALWAYS]),
    ("getKey", &[ALWAYS, OF_KEY]),
    ("revokeKey", &[ALWAYS, BODILESS, OF_KEY]),
    ("listAuditLog", &[ALWAYS]),
    ("streamEvents", &[ALWAYS, &[Kind::TooManyStreams]]),
    ("createWebhook", &[ALWAYS, BODY, &[Kind::TooManyWebhooks]]),
    ("listWebhooks", &[ALWAYS]),
    ("getWebhook", &[ALWAYS, OF_WEBHOOK]),
    ("removeWebhook", &[ALWAYS, BODILESS, OF_WEBHOOK]),
    ("resumeWebhook", &[ALWAYS, BODILESS, OF_WEBHOOK]),
];

/// The problems an operation may end with.
pub fn problems_of(operation_id: &str) -> Vec<Kind> {
    OPERATIONS
        .iter()
        .filter(|(id, _)| *id == operation_id)
        .flat_map(|(_, groups)| groups.iter().copied().flatten().copied())
        .collect()
}

/// Adds the problems to a document made from the handlers.
pub fn with_problems(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.post, &mut item.put].into_iter().flatten() {
            if COMPARED.contains(&path.as_str()) {
                add_precondition(operation);
            }
        }
        for operation in [&mut item.get, &mut item.post, &mut item.put].into_iter().flatten() {
            add_problems(operation);
        }
        if let Some(operation) = &mut item.get {
            add_tag(operation);
        }
    }
    let mut description = document.info.description.take().unwrap_or_default();
    description.push_str(
        "\n\nEvery error is `application/problem+json` (RFC 9457), told apart by its `type`:\n\n| status | `type` | meaning |\n|---|---|---|\n",
    );
    for row in &KINDS {
        let line =
            format!("| {} | `{}` | {}. {} |\n", row.status, row.type_uri(), row.title, row.meaning);
        description.push_str(&line);
    }
    document.info.description = Some(description);
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key; where the service runs with `--auth open`, none is needed"));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(key.build()));
    document.security = Some(vec![SecurityRequirement::new("key", [""; 0])]);
    document
}

/// What is changed may be compared with what was seen.
fn add_precondition(operation: &mut Operation) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let needed = problems_of(id).contains(&Kind::PreconditionRequired);
    let what = "The `ETag` of what is changed, as it was read; `*` for whatever there is";
    let description = match needed {
        true => format!("{what}. Without it the answer is 428"),
        false => what.to_owned(),
    };
    let parameter = ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Object::with_type(Type::String)))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

/// What is read as a whole has a tag, and who has it already is told so; what is sent while it is read has none.
fn add_tag(operation: &mut Operation) {
    if operation.operation_id.as_deref().is_some_and(|id| id.starts_with("export")) {
        return;
    }
    let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { return };
    if !answer.content.contains_key("application/json") && !answer.content.contains_key("text/csv")
    {
        return;
    }
    let header = HeaderBuilder::new().description(Some("Changes with the answer"));
    answer.headers.insert("ETag".into(), header.build().into());
    let unchanged = ResponseBuilder::new().description("It is what `If-None-Match` names");
    operation.responses.responses.insert("304".into(), RefOr::T(unchanged.build()));
    let parameter = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The `ETag` of an answer that is there already"))
        .schema(Some(Object::with_type(Type::String)))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn add_problems(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let roles = format!("Roles: {}.", access::needed(&id).roles());
    operation.description = Some(match operation.description.take() {
        Some(text) if !text.is_empty() => format!("{text}\n\n{roles}"),
        _ => roles,
    });
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in problems_of(&id) {
        by_status.entry(kind.row().status).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        let mut content =
            ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
        let mut titles = Vec::new();
        for kind in kinds {
            let row = kind.row();
            titles.push(format!("`{}`: {}", row.name, row.title));
            let example = json!({
                "type": row.type_uri(), "title": row.title, "status": row.status, "detail": row.meaning,
            });
            content = content.examples_from_iter([(
                row.name,
                RefOr::T(ExampleBuilder::new().summary(row.title).value(Some(example)).build()),
            )]);
        }
        let mut response = ResponseBuilder::new()
            .description(titles.join("; "))
            .content(problem::CONTENT_TYPE, content.build());
        if matches!(status, 401 | 403) {
            let challenge = HeaderBuilder::new().description(Some("How to prove who asks"));
            response = response.header("WWW-Authenticate", challenge.build());
        }
        if matches!(status, 429 | 503) {
            let retry =
                HeaderBuilder::new().description(Some("Seconds to wait before the next try"));
            response = response.header("Retry-After", retry.build());
        }
        operation.responses.responses.insert(status.to_string(), RefOr::T(response.build()));
    }
}
