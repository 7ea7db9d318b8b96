//! `/v1/keys`: API keys; and `/v1/audit-log`: what administrators did.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::Timestamp;

use super::app::App;
use super::extract::{JsonBytes, NoBody, PageOf, Paging, Params, Segment};
use super::precondition::{Precondition, changed};
use super::problem::{Kind, Problem};
use crate::act::{Act, Acted, Actor, AuditEntry};
use crate::json;
use crate::key::{ApiKey, CreatedKey, KeyBody, NewKey, Secret};
use crate::report::Page;

/// Create an API key
///
/// The answer is the only time the key is shown. It is in force at once.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "createKey", tag = "administration",
    request_body = KeyBody,
    responses((status = 201, description = "Created, with the key itself", body = CreatedKey,
        headers(("Location" = String, description = "The key's address"))))
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: KeyBody = json::read(&body.0)?;
    body.validate().map_err(|error| Problem::from(error).at("name".into()))?;
    if let Some(detail) = body.expired(Timestamp::now()) {
        return Err(Problem::new(Kind::InvalidBody, detail).at("expires_at".into()));
    }
    let secret = Secret::generate();
    let act = Act::CreateKey { key: NewKey::new(body, &secret), keys_max: app.limits.keys_max };
    match app.writer.act(act, actor).await? {
        Acted::Key(row) => {
            app.gate.ring.insert(row.clone());
            let location = format!("/v1/keys/{}", row.id);
            let created = CreatedKey { key: secret.reveal().to_owned(), listed: row.listed()? };
            let headers =
                [(header::CACHE_CONTROL, "no-store".to_owned()), (header::LOCATION, location)];
            Ok((StatusCode::CREATED, headers, Json(created)).into_response())
        }
        Acted::TooManyKeys => Err(Problem::new(
            Kind::TooManyKeys,
            format!(
                "{} keys are in force already; revoke one, or raise --keys-max",
                app.limits.keys_max
            ),
        )),
        other => Err(Problem::unexpected(&other)),
    }
}

/// List the API keys
///
/// In the order of their creation, revoked and expired ones too.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "listKeys", tag = "administration",
    params(Paging),
    responses((status = 200, description = "A page of keys", body = Page<ApiKey>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<ApiKey>, Problem> {
    Ok(Json(app.reader.keys(paging.after_number()?, paging.limit()?).await?))
}

/// Get an API key
#[utoipa::path(
    get, path = "/v1/keys/{id}", operation_id = "getKey", tag = "administration",
    params(("id" = String, Path, description = "The key's number")),
    responses((status = 200, description = "The key", body = ApiKey))
)]
pub async fn get(State(app): State<App>, Segment(id): Segment) -> Result<Json<ApiKey>, Problem> {
    app.reader.key(number(&id)?).await?.map(Json).ok_or_else(missing)
}

/// Revoke an API key
///
/// No request with it is answered any more once this one is. Revoking it again answers the same. With `If-Match` it is
/// revoked only while it is as `GET /v1/keys/{id}` told it.
#[utoipa::path(
    post, path = "/v1/keys/{id}/revoke", operation_id = "revokeKey", tag = "administration",
    params(("id" = String, Path, description = "The key's number")),
    responses((status = 200, description = "Revoked, now or before", body = ApiKey))
)]
pub async fn revoke(
    State(app): State<App>,
    Segment(id): Segment,
    actor: Actor,
    precondition: Precondition,
    _: NoBody,
) -> Result<Json<ApiKey>, Problem> {
    let id = number(&id)?;
    let seen = precondition.seen(app.reader.key(id).await?.ok_or_else(missing)?)?;
    match app.writer.act(Act::RevokeKey { id, seen }, actor).await? {
        Acted::Changed => Err(changed()),
        Acted::Revoked(key) | Acted::RevokedBefore(key) => {
            app.gate.ring.remove(id);
            Ok(Json(key))
        }
        Acted::NoSuchKey => Err(missing()),
        other => Err(Problem::unexpected(&other)),
    }
}

/// List the audit log
///
/// Every act of administration in its order: currencies, limits, closes, keys. The log is append-only, and its
/// entries are links of the chain that `forebay-ledger verify` recomputes.
#[utoipa::path(
    get, path = "/v1/audit-log", operation_id = "listAuditLog", tag = "administration",
    params(Paging),
    responses((status = 200, description = "A page of entries", body = Page<AuditEntry>))
)]
pub async fn audit_log(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<AuditEntry>, Problem> {
    Ok(Json(app.reader.audit_log(paging.after_number()?, paging.limit()?).await?))
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::new(Kind::KeyNotFound, "there is no API key of this number")
}
