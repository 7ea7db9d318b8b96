//! One running ledger: a database, its writer, the main and the admin listener.

mod guard;
mod options;
mod shouting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::options::Options;
use crate::delivering;
use crate::delivering::tail::Tail;
use crate::http::server::{self, Gauges};
use crate::http::{self, App, admin};
use crate::keyring::{self, Ring};
use crate::metrics::Metrics;
use crate::signing::Signer;
use crate::store::{self, Access, Reader, StoreError};
use crate::writer;

/// Connections the admin listener holds at once; it has one or two clients.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Why a service did not start or did not end well.
#[derive(Debug, Error)]
pub enum ServiceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen on {address}: {reason}; choose another with {flag}")]
    Bind { address: SocketAddr, flag: &'static str, reason: std::io::Error },
    #[error("the writer ended unexpectedly: {0}")]
    Writer(String),
    #[error("the machine's certificate authorities cannot be read, and webhooks need them: {0}")]
    Authorities(std::io::Error),
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// The address the main listener really has.
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    stop: watch::Sender<bool>,
    main: JoinHandle<u64>,
    admin_stop: watch::Sender<bool>,
    admin: JoinHandle<u64>,
    writer: JoinHandle<Result<(), StoreError>>,
    reader: Reader,
    /// What goes on beside requests: keys, the tail of the books, webhooks.
    beside: Vec<JoinHandle<()>>,
    shouting: Vec<JoinHandle<()>>,
}

/// Binds, opens the database and starts to serve.
pub async fn start(options: Options) -> Result<Service, ServiceError> {
    let main = bind(options.listen, "--listen").await?;
    let admin = bind(options.admin_listen, "--admin-listen").await?;
    let access = Access { migrate: options.migrate, allow_unsafe: options.allow_unsafe };
    let opened = store::open(&options.database, access).await?;
    let reader = opened.reader;

    let metrics = Metrics::new();
    metrics.database.with_label_values(&[reader.engine()]).set(1);
    let unguarded = store::unguarded(&options.database).await?;
    let mut shouting =
        shouting::shouts(&options.database, &metrics, opened.unsafe_settings, unguarded);
    announce_capacities(&metrics, &options);
    let (handle, writer) =
        writer::start(opened.writer, opened.ahead, options.writer, metrics.clone());
    let (connections, in_flight) = (metrics.connections.clone(), metrics.http_in_flight.clone());
    let gauges = Gauges { connections, in_flight };
    let (gate, open) = guard::gate(&options, main.1, &reader, &handle, &metrics).await?;
    shouting.extend(open);
    let (stop, stopped) = watch::channel(false);
    let handle = Arc::new(handle);
    let app = App::new(http::Parts {
        database: options.database.clone(),
        signer: Signer::of(options.signing.as_ref(), &reader, &handle, &metrics),
        reader: reader.clone(),
        writer: handle,
        metrics,
        limits: options.http,
        gate: Arc::new(gate),
        outbox: options.outbox,
        tail: Tail::default(),
        changes: delivering::Changes::default(),
        streams: Arc::new(Semaphore::new(options.outbox.streams_max)),
        exports: Arc::new(Semaphore::new(options.http.exports_max)),
        stopping: stopped.clone(),
    });
    let beside = beside(&app, &options, app.gate.ring.clone(), &stopped)?;
    let (admin_stop, admin_stopped) = watch::channel(false);
    Ok(Service {
        listen: main.1,
        admin_listen: admin.1,
        stop,
        admin_stop,
        main: tokio::spawn(server::serve(
            main.0,
            options.tls,
            http::router(app.clone()),
            options.server,
            gauges,
            stopped,
        )),
        admin: tokio::spawn(server::serve(
            admin.0,
            None,
            admin::router(app),
            of_admin(options.server),
            Gauges::unwatched(),
            admin_stopped,
        )),
        writer,
        reader,
        beside,
        shouting,
    })
}

/// The admin listener's own limits.
fn of_admin(limits: server::Limits) -> server::Limits {
    let connections_max = ADMIN_CONNECTIONS_MAX;
    server::Limits { connections_max, drain_timeout: Duration::ZERO, ..limits }
}

/// How much of what there may be, beside how much there is.
fn announce_capacities(metrics: &Metrics, options: &Options) {
    let capacity = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.connections_capacity.set(capacity(options.server.connections_max));
    metrics.keys_capacity.set(capacity(options.http.keys_max));
    metrics.webhooks_capacity.set(capacity(options.outbox.endpoints_max));
    metrics.exports_capacity.set(capacity(options.http.exports_max));
    metrics.event_streams_capacity.set(capacity(options.outbox.streams_max));
}

/// What goes on beside requests, until the stop.
fn beside(
    app: &App,
    options: &Options,
    ring: Ring,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, ServiceError> {
    let (reader, writer) = (app.reader.clone(), app.writer.clone());
    let delivering = delivering::start(
        reader.clone(),
        writer.clone(),
        app.tail.clone(),
        app.changes.clone(),
        app.outbox,
        app.metrics.clone(),
        stopped.clone(),
    );
    let mut tasks = vec![
        delivering.map_err(ServiceError::Authorities)?,
        app.tail.follow(reader.clone(), stopped.clone()),
        keyring::keep(ring, reader, writer, stopped.clone()),
    ];
    if let Some((signer, signing)) = app.signer.as_ref().zip(options.signing.as_ref()) {
        tasks.push(signer.clone().keep(signing.every, stopped.clone()));
    }
    Ok(tasks)
}

async fn bind(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ServiceError> {
    let failed = |reason| ServiceError::Bind { address, flag, reason };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl Service {
    /// Ends only when the writer does before it was told to: the service cannot go on then.
    pub async fn failed(&mut self) -> ServiceError {
        match (&mut self.writer).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) => ServiceError::Writer("nobody needs it any more".into()),
            Err(error) => ServiceError::Writer(error.to_string()),
        }
    }

    /// Stops accepting, answers what was accepted, closes the database. Returns how many requests
    /// were left unanswered at the drain limit. The admin listener answers until the last.
    pub async fn stop(self) -> Result<u64, ServiceError> {
        // Sending fails only when the listener has ended already.
        let _ = self.stop.send(true);
        let unanswered = self.main.await.unwrap_or(0);
        // They write down how far they have come, and let go of the writer.
        for task in self.beside {
            let _ = task.await;
        }
        let _ = self.admin_stop.send(true);
        let _ = self.admin.await;
        match self.writer.await {
            Ok(ended) => ended?,
            Err(error) => return Err(ServiceError::Writer(error.to_string())),
        }
        self.reader.close().await;
        self.shouting.iter().for_each(JoinHandle::abort);
        Ok(unanswered)
    }
}
