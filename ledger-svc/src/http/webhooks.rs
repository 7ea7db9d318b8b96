//! `/v1/webhooks`: who is told what is booked.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::app::App;
use super::extract::{JsonBytes, NoBody, PageOf, Paging, Params, Segment};
use super::precondition::{Precondition, changed};
use super::problem::{Kind, Problem};
use crate::act::{Act, Acted, Actor};
use crate::json;
use crate::outbox::sign::Secret;
use crate::outbox::{CreatedEndpoint, Endpoint, EndpointBody, NewEndpoint};
use crate::report::Page;

/// Register a webhook
///
/// From then on every transfer booked is posted to it, as `{"events": […]}` in booking order, at least once: an event
/// is sent again until it is answered with 2xx, with waits that double up to an hour. Deliveries are signed as Standard
/// Webhooks has it (`webhook-id`, `webhook-timestamp`, `webhook-signature`: HMAC-SHA-256); the answer here is the
/// only time the secret is shown. After too many failures in a row, or a 410, the webhook is suspended and loses nothing.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "events",
    request_body = EndpointBody,
    responses((status = 201, description = "Registered, with its secret", body = CreatedEndpoint,
        headers(("Location" = String, description = "The webhook's address"))))
)]
pub async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: EndpointBody = json::read(&body.0)?;
    body.validate().map_err(|error| {
        let field = error.field().to_owned();
        Problem::new(Kind::InvalidBody, error.to_string()).at(field)
    })?;
    if let Some(after) = body.after
        && let Some(detail) = super::events::beyond_the_last(&app, "after", after).await?
    {
        return Err(Problem::new(Kind::InvalidBody, detail).at("after".into()));
    }
    let secret = Secret::generate();
    let endpoint = NewEndpoint { body, secret: secret.clone() };
    let endpoints_max = app.outbox.endpoints_max;
    match app.writer.act(Act::CreateEndpoint { endpoint, endpoints_max }, actor).await? {
        Acted::Endpoint(listed) => {
            app.changes.changed();
            let location = format!("/v1/webhooks/{}", listed.id);
            let created = CreatedEndpoint { secret: secret.reveal(), listed };
            let headers =
                [(header::CACHE_CONTROL, "no-store".to_owned()), (header::LOCATION, location)];
            Ok((StatusCode::CREATED, headers, Json(created)).into_response())
        }
        Acted::TooManyEndpoints => Err(Problem::new(
            Kind::TooManyWebhooks,
            format!(
                "{endpoints_max} webhooks are registered already; remove one, or raise --webhooks-max"
            ),
        )),
        other => Err(Problem::unexpected(&other)),
    }
}

/// List the webhooks
///
/// Removed ones too; each with how far it has come.
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "events",
    params(Paging),
    responses((status = 200, description = "A page of webhooks", body = Page<Endpoint>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<Endpoint>, Problem> {
    Ok(Json(app.reader.endpoints(paging.after_number()?, paging.limit()?).await?))
}

/// Get a webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", operation_id = "getWebhook", tag = "events",
    params(("id" = String, Path, description = "The webhook's number")),
    responses((status = 200, description = "The webhook and how far it has come", body = Endpoint))
)]
pub async fn get(State(app): State<App>, Segment(id): Segment) -> Result<Json<Endpoint>, Problem> {
    app.reader.endpoint(number(&id)?).await?.map(Json).ok_or_else(missing)
}

/// Remove a webhook
///
/// Nothing is posted to it from now on, but for a delivery that is on its way. Removing it again answers the same.
/// With `If-Match` it is removed only while it is as `GET /v1/webhooks/{id}` told it, how far it has come included.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/remove", operation_id = "removeWebhook", tag = "events",
    params(("id" = String, Path, description = "The webhook's number")),
    responses((status = 200, description = "Removed, now or before", body = Endpoint))
)]
pub async fn remove(
    State(app): State<App>,
    Segment(id): Segment,
    actor: Actor,
    precondition: Precondition,
    _: NoBody,
) -> Result<Json<Endpoint>, Problem> {
    let act = |id, seen| Act::RemoveEndpoint { id, seen };
    let removed = acted(&app, &id, &precondition, act, actor).await?;
    app.changes.changed();
    Ok(Json(removed))
}

/// Resume a webhook
///
/// One that is suspended goes on where it stopped; any other stays as it is. With `If-Match`, only while it is as it was
/// told.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/resume", operation_id = "resumeWebhook", tag = "events",
    params(("id" = String, Path, description = "The webhook's number")),
    responses((status = 200, description = "The webhook as it is now", body = Endpoint))
)]
pub async fn resume(
    State(app): State<App>,
    Segment(id): Segment,
    actor: Actor,
    precondition: Precondition,
    _: NoBody,
) -> Result<Json<Endpoint>, Problem> {
    let act = |id, seen| Act::ResumeEndpoint { id, seen };
    let resumed = acted(&app, &id, &precondition, act, actor).await?;
    if resumed.failures == 0 {
        app.changes.resumed(resumed.id);
    }
    Ok(Json(resumed))
}

/// Does something to the webhook that a path names, while it is as the client has seen it; gives it as it is then.
async fn acted(
    app: &App,
    id: &str,
    precondition: &Precondition,
    act: impl FnOnce(i64, Option<Endpoint>) -> Act,
    actor: Actor,
) -> Result<Endpoint, Problem> {
    let id = number(id)?;
    let seen = precondition.seen(app.reader.endpoint(id).await?.ok_or_else(missing)?)?;
    match app.writer.act(act(id, seen), actor).await? {
        Acted::Endpoint(endpoint) => Ok(endpoint),
        Acted::NoSuchEndpoint => Err(missing()),
        Acted::Changed => Err(changed()),
        other => Err(Problem::unexpected(&other)),
    }
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::new(Kind::WebhookNotFound, "there is no webhook of this number")
}
