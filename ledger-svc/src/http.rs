//! The HTTP side: routes, their documentation and the layers around them.

pub mod access;
pub mod account_sets;
pub mod accounts;
pub mod admin;
pub mod app;
pub mod auth;
pub mod batches;
pub mod closes;
pub mod currencies;
pub mod etag;
pub mod events;
pub mod exports;
pub mod external;
pub mod extract;
pub mod gate;
pub mod imports;
pub mod keys;
pub mod lines;
pub mod observe;
pub mod openapi;
pub mod period;
pub mod precondition;
pub mod problem;
pub mod reconciliation;
pub mod reports;
pub mod server;
pub mod signatures;
pub mod statements;
pub mod tls;
pub mod transfers;
pub mod unread;
pub mod view;
pub mod webhooks;

use axum::Router;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

pub use self::app::{App, EXPORTS_MAX_DEFAULT, KEYS_MAX_DEFAULT, Limits, Parts};

fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(currencies::create, currencies::list))
        .routes(routes!(accounts::create, accounts::list))
        .routes(routes!(accounts::get))
        .routes(routes!(accounts::balance))
        .routes(routes!(accounts::limits, accounts::set_limits))
        .routes(routes!(accounts::entries))
        .routes(routes!(statements::statement))
        .routes(routes!(statements::statement_csv))
        .routes(routes!(transfers::create, transfers::list))
        .routes(routes!(transfers::get))
        .routes(routes!(transfers::post))
        .routes(routes!(transfers::void))
        .routes(routes!(transfers::reverse))
        .routes(routes!(batches::create))
        .routes(routes!(lines::stream))
        .routes(routes!(imports::create))
        .routes(routes!(reports::trial_balance))
        .routes(routes!(reports::trial_balance_as_of))
        .routes(routes!(reports::balance_as_of))
        .routes(routes!(reports::journal))
        .routes(routes!(exports::entries))
        .routes(routes!(exports::accounts))
        .routes(routes!(exports::beancount))
        .routes(routes!(exports::ledger))
        .routes(routes!(closes::create, closes::list))
        .routes(routes!(closes::get))
        .routes(routes!(closes::balances))
        .routes(routes!(account_sets::create, account_sets::list))
        .routes(routes!(account_sets::get))
        .routes(routes!(account_sets::add, account_sets::members))
        .routes(routes!(account_sets::tree))
        .routes(routes!(signatures::head))
        .routes(routes!(signatures::list))
        .routes(routes!(external::import, external::statements))
        .routes(routes!(external::withdraw))
        .routes(routes!(reconciliation::open_lines))
        .routes(routes!(reconciliation::unmatched))
        .routes(routes!(reconciliation::get, reconciliation::run))
        .routes(routes!(reconciliation::create_match, reconciliation::matches))
        .routes(routes!(reconciliation::adjust))
        .routes(routes!(reconciliation::remove_match))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::get))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::audit_log))
        .routes(routes!(events::stream))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(webhooks::get))
        .routes(routes!(webhooks::remove))
        .routes(routes!(webhooks::resume))
}

/// The OpenAPI 3.1 document, as served at `/openapi.json`.
pub fn document() -> OpenApi {
    openapi::with_problems(api().into_openapi())
}

/// The main listener's routes.
pub fn router(app: App) -> Router {
    let (routes, _) = api().split_for_parts();
    routes
        .merge(view::router())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document()))
        .fallback(observe::not_found)
        .method_not_allowed_fallback(observe::method_not_allowed)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
