//! What stands before the main listener: whether keys are asked for, which are in force, and the first of them.

use std::net::SocketAddr;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::options::Options;
use super::shouting::shout_open;
use crate::act::{Act, Acted, Actor};
use crate::http;
use crate::http::access::Table;
use crate::http::gate::{Auth, Gate};
use crate::key::{KeyBody, NewKey, Role, Secret};
use crate::keyring::Ring;
use crate::metrics::Metrics;
use crate::store::{Reader, StoreError};
use crate::writer;

/// The gate, and who shouts when it stands open where others can reach it.
pub async fn gate(
    options: &Options,
    listen: SocketAddr,
    reader: &Reader,
    writer: &writer::Handle,
    metrics: &Metrics,
) -> Result<(Gate, Option<JoinHandle<()>>), StoreError> {
    let ring = Ring::open(reader, metrics.clone()).await?;
    if let Some(secret) = &options.first_admin_key
        && !ring.has_admin(Timestamp::now())
    {
        first_key(writer, &ring, secret, options.http.keys_max).await;
    }
    let auth = options.auth;
    metrics.auth_open.set(i64::from(auth == Auth::Open));
    let shouting = (auth == Auth::Open && !listen.ip().is_loopback())
        .then(|| tokio::spawn(shout_open(listen)));
    if auth == Auth::Open && listen.ip().is_loopback() {
        tracing::warn!(%listen, "nobody is asked for a key (--auth open): every program and every page on this machine may post");
    }
    if auth == Auth::Required && !ring.has_admin(Timestamp::now()) {
        tracing::error!(
            "no API key of an administrator is in force, so nobody can make one over the API; stop the service and run `forebay-ledger key create --role admin`, start it with --first-admin-key-file, or on a machine of your own with --auth open"
        );
    }
    Ok((Gate { auth, ring, table: Table::of(&http::document()) }, shouting))
}

/// Books the key that was handed to the service as the first administrator's. The database refuses one that it has
/// already.
async fn first_key(writer: &writer::Handle, ring: &Ring, secret: &Secret, keys_max: usize) {
    let name = "first administrator".to_owned();
    let body = KeyBody { name, role: Role::Admin, expires_at: None, rate: None };
    let act = Act::CreateKey { key: NewKey::new(body, secret), keys_max };
    match writer.act(act, Actor::Service).await {
        Ok(Acted::Key(row)) => {
            let prefix = &row.prefix;
            tracing::info!(key = row.id, prefix, "the first administrator's key is booked");
            ring.insert(row);
        }
        Ok(_) => tracing::error!("too many keys are in force for the first administrator's"),
        // Whoever has another key must not stand still for it.
        Err(error) => tracing::error!(
            %error,
            "the first administrator's key could not be booked; one that was revoked, or has expired, does not come back"
        ),
    }
}
