//! `/v1/signatures`: heads of the chain as they were signed, and whose signatures they are.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::extract::{PageOf, Paging, Params};
use super::problem::Problem;
use crate::hex::hex;
use crate::report::Page;
use crate::signature::{Signature, pem};

/// Where the chain ends, and the key that signs it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChainHead {
    /// The number of the last link.
    pub link: i64,
    /// Its hash, in hexadecimal; `LINK:HASH` is what `forebay-ledger verify --head` takes.
    pub hash: String,
    /// The last head that was signed; null when none was.
    pub signed: Option<Signature>,
    /// The public key of the service, as `forebay-ledger verify --public-key` takes it (PEM); null when it signs nothing.
    pub public_key: Option<String>,
}

/// Get the head of the chain
///
/// Note it down elsewhere: whoever changes what is booked before it cannot come to the same hash again.
#[utoipa::path(
    get, path = "/v1/head", operation_id = "getHead", tag = "reports",
    responses((status = 200, description = "Where the chain ends", body = ChainHead))
)]
pub async fn head(State(app): State<App>) -> Result<Json<ChainHead>, Problem> {
    let signed = app.reader.last_signature().await?;
    let head = app.reader.head().await?;
    Ok(Json(ChainHead {
        link: head.seq,
        hash: hex(&head.hash),
        signed: signed.map(|row| row.told()),
        public_key: app.signer.as_ref().map(|signer| pem::public(&signer.public())),
    }))
}

/// List the signatures
///
/// Heads of the chain in their order, each signed with a key that is kept outside the database.
#[utoipa::path(
    get, path = "/v1/signatures", operation_id = "listSignatures", tag = "reports",
    params(Paging),
    responses((status = 200, description = "A page of signatures", body = Page<Signature>))
)]
pub async fn list(
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<PageOf<Signature>, Problem> {
    let page = app.reader.signatures(paging.after_number()?, paging.limit()?).await?;
    Ok(Json(page.map(|row| row.told())))
}
