//! Everything a service is told at its start.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::http;
use crate::http::gate::Auth;
use crate::http::server;
use crate::http::tls::Tls;
use crate::key::Secret;
use crate::outbox;
use crate::signing::Signing;
use crate::store::DatabaseUrl;
use crate::writer;

/// Everything a service is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    pub database: DatabaseUrl,
    /// Create or update the tables at the start.
    pub migrate: bool,
    /// Serve a database whose settings can lose acknowledged transfers; for development.
    pub allow_unsafe: bool,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// The main listener speaks TLS.
    pub tls: Option<Arc<Tls>>,
    pub auth: Auth,
    /// Signs the head of the chain, so often.
    pub signing: Option<Signing>,
    /// Booked as a key of an administrator when the database has none.
    pub first_admin_key: Option<Secret>,
    pub http: http::Limits,
    pub outbox: outbox::Limits,
    pub server: server::Limits,
    pub writer: writer::Limits,
}
