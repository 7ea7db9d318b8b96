//! What is only true of a server: its settings, its grants, its absence, and the connection to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_ledger::store::{self, Access, StoreError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::{Database, Engine, Server};
use crate::running::{Answer, DEADLINE, Running, answer, moving, open_pair, options};

const OPENING: Access = Access { migrate: true, allow_unsafe: false };

async fn refused(url: &str) -> StoreError {
    Box::pin(store::open(&url.parse().unwrap(), OPENING)).await.expect_err("it should be refused")
}

async fn ready(running: &Running) -> Answer {
    answer(running.api.client.get(format!("{}/readyz", running.api.admin))).await
}

async fn becomes_ready(running: &Running) {
    let began = Instant::now();
    while ready(running).await.status != 200 {
        assert!(began.elapsed() < DEADLINE, "not ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// While the server is away everything is answered 503; when it is back, so is the service.
async fn away_and_back(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let body = moving("eur:credit", "eur:debit", "1");
    let first = api.transfer("first", &body).await;
    assert_eq!(first.status, 201);
    for killed in [false, true] {
        if killed {
            server.kill();
        } else {
            server.stop();
        }
        let key = format!("away-{killed}");
        for away in
            [api.transfer(&key, &body).await, api.get("/v1/accounts").await, ready(&running).await]
        {
            assert_eq!(away.problem(), "database-unavailable");
            assert_eq!(away.headers["retry-after"], "1");
        }
        let alive = answer(api.client.get(format!("{}/healthz", api.admin))).await;
        assert_eq!(alive.status, 200);
        server.launch().await;
        becomes_ready(&running).await;
        let again = api.transfer(&key, &body).await;
        assert_eq!((again.status.as_u16(), again.is_replay()), (201, false), "{}", again.body);
        assert_eq!(api.transfer("first", &body).await.body, first.body);
    }
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["debits"], "3.00");
}

/// Passes bytes both ways, until it sees a COMMIT after it was told to cut.
pub struct Cutter {
    pub port: u16,
    pub cut: Arc<AtomicBool>,
}

impl Cutter {
    /// `forward`: the server still gets the COMMIT, and only its answer is lost.
    pub async fn start(to: u16, forward: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, to, Arc::clone(&told), forward));
            }
        });
        Self { port, cut }
    }
}

async fn pass(client: TcpStream, to: u16, cut: Arc<AtomicBool>, forward: bool) {
    let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let swallow = Arc::new(AtomicBool::new(false));
    let swallowing = Arc::clone(&swallow);
    let back = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if swallowing.load(Ordering::SeqCst)
                || to_client.write_all(&buffer[..read]).await.is_err()
            {
                return;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let bytes = &buffer[..read];
        if bytes.windows(6).any(|window| window == b"COMMIT") && cut.swap(false, Ordering::SeqCst) {
            if forward {
                // Cut only once the server has answered, so that the COMMIT is surely done.
                swallow.store(true, Ordering::SeqCst);
                to_server.write_all(bytes).await.unwrap();
            } else {
                back.abort();
            }
            let _ = back.await;
            return;
        }
        if to_server.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// A connection cut at COMMIT: whether it was done is never guessed, and the same key settles it.
async fn a_commit_cut_off_is_settled_by_its_key(server: &Server) {
    for forward in [false, true] {
        let database = server.database().await;
        let cutter = Cutter::start(server.port, forward).await;
        let running =
            Running::start(options(&server.url_at(cutter.port, database.name())), database).await;
        open_pair(&running.api).await;
        for round in 0..5 {
            let body = moving("eur:credit", "eur:debit", "1");
            let key = format!("cut-{round}");
            cutter.cut.store(true, Ordering::SeqCst);
            let unknown = running.api.transfer(&key, &body).await;
            assert_eq!(unknown.problem(), "database-unavailable");
            assert!(!cutter.cut.load(Ordering::SeqCst), "nothing was cut");
            let settled = running.api.transfer(&key, &body).await;
            assert_eq!(settled.status, 201, "{}", settled.body);
            assert_eq!(settled.is_replay(), forward, "a COMMIT that arrived was done");
            assert_eq!(running.api.transfer(&key, &body).await.body, settled.body);
        }
        assert_eq!(running.database.transfers().await, 5);
        assert_eq!(running.api.read("/v1/accounts/eur:debit/balance").await["debits"], "5.00");
    }
}

/// Statements that would change the past, and are refused whoever sends them.
async fn what_is_posted_cannot_be_changed_by_sql_either(server: &Server) {
    let running = server.running().await;
    open_pair(&running.api).await;
    let posted = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    let mut raw = running.database.connect().await;
    for sql in [
        "UPDATE transfers SET description = 'x'",
        "DELETE FROM transfers",
        "UPDATE entries SET amount_minor = 1",
        "DELETE FROM entries WHERE id = 1",
        "UPDATE transfers SET fingerprint = link",
        "UPDATE accounts SET currency = 'USD'",
        "DELETE FROM accounts",
        "UPDATE currencies SET scale = 3 WHERE code = 'EUR'",
        "DELETE FROM currencies",
    ] {
        let error = raw.execute(sql).await.expect_err(sql).to_string();
        assert!(error.contains("append-only") || error.contains("never changed"), "{sql}: {error}");
    }
    let by_engine = match server.engine {
        Engine::Postgres => [
            "TRUNCATE entries",
            "INSERT INTO entries SELECT * FROM entries ON CONFLICT (id) DO UPDATE SET amount_minor = 7",
        ],
        _ => [
            "REPLACE INTO entries SELECT * FROM entries",
            "INSERT INTO entries SELECT * FROM entries AS e ON DUPLICATE KEY UPDATE amount_minor = 7",
        ],
    };
    for sql in by_engine {
        let error = raw.execute(sql).await.expect_err(sql).to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    for sql in [
        "UPDATE balances SET debits_minor = -1",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 0, 0, 0, 0, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'sideways', 1, 0, 0, 0, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 1, 0, 0, 99, 0)",
        // What keeps entries off it: the writer updates balances in the same SQL transaction.
        "INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (77, 0, 0, 0)",
    ] {
        raw.execute(sql).await.expect_err(sql);
    }
    let location = posted.headers["location"].to_str().unwrap();
    assert_eq!(running.api.get(location).await.body, posted.body);
}

async fn one_database_has_one_service(server: &Server) {
    let mut running = server.running().await;
    let error = refused(&running.database.url).await;
    assert!(matches!(error, StoreError::Locked { .. }) && !error.is_bad_document(), "{error}");
    assert!(error.to_string().contains("of the server"), "{error}");
    // Another database of the same server is another ledger.
    server.running().await;
    // A service whose lock was lost to another finds out before it writes.
    open_pair(&running.api).await;
    let mut raw = running.database.connect().await;
    raw.execute("UPDATE service SET epoch = epoch + 1").await.unwrap();
    let answer = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(answer.problem(), "database-unavailable");
    let error = running.service.failed().await.to_string();
    assert!(error.contains("took over"), "{error}");
    assert_eq!(running.database.transfers().await, 0);
}

async fn foreign_and_newer_databases_are_left_alone(server: &Server) {
    let foreign = server.database().await;
    foreign.connect().await.execute("CREATE TABLE orders (id int)").await.unwrap();
    let error = refused(&foreign.url).await.to_string();
    assert!(error.contains("not a Forebay ledger") && error.contains("orders"), "{error}");

    let newer = server.database().await;
    let url = newer.url.parse().unwrap();
    let unmigrated = Box::pin(store::open(&url, Access { migrate: false, ..OPENING })).await;
    let said = unmigrated.expect_err("no tables yet").to_string();
    assert!(said.contains("forebay-ledger migrate") && !said.contains("s%3A"), "{said}");
    let first = Box::pin(store::migrate(&url, false)).await.unwrap();
    let second = Box::pin(store::migrate(&url, false)).await.unwrap();
    assert_eq!((first.applied, second.applied, second.version), (18, 0, first.version));
    newer.connect().await.execute("INSERT INTO _sqlx_migrations SELECT 99, 'later', installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1").await.unwrap();
    let error = refused(&newer.url).await;
    assert!(matches!(error, StoreError::OtherVersion { .. }), "{error}");

    let error = refused(&server.url("nowhere")).await;
    assert!(matches!(error, StoreError::Open { .. }) && !error.is_bad_document(), "{error}");
    let wrong = newer.url.replace("s%3A", "wrong");
    let error = refused(&wrong).await.to_string();
    assert!(error.contains("cannot open") && !error.contains("wrong"), "{error}");
}

/// The grants the migrations recommend are enough to serve, and not enough to empty a table.
async fn the_recommended_grants_suffice(server: &Server) {
    let database = server.database().await;
    Box::pin(store::migrate(&database.url.parse().unwrap(), false)).await.unwrap();
    let mut raw = database.connect().await;
    let name = database.name().to_owned();
    let user = format!("serving_{name}");
    let tables = "currencies accounts balances transfers entries idempotency_keys pending_entries holds account_limits chain backdated_entries backdated_days closes close_balances api_keys api_key_revocations api_key_uses audit_log webhook_endpoints webhook_removals webhook_progress account_metadata transfer_metadata head_signatures external_statements external_lines matches match_lines match_entries unmatches open_lines matched_entries external_repeats external_withdrawals account_sets account_set_members";
    let mut grants = vec![];
    let to = if server.engine == Engine::Postgres {
        grants.push(format!("CREATE ROLE {user} LOGIN PASSWORD 'p'"));
        let listed = tables.replace(' ', ", ");
        grants.push(format!("GRANT SELECT, INSERT ON {listed} TO {user}"));
        grants.push(format!("GRANT SELECT ON service, _sqlx_migrations TO {user}"));
        user.clone()
    } else {
        grants.push(format!("CREATE USER {user} IDENTIFIED BY 'p'"));
        grants.push(format!("GRANT SELECT ON {name}.* TO {user}"));
        grants.extend(tables.split(' ').map(|t| format!("GRANT INSERT ON {name}.{t} TO {user}")));
        user.clone()
    };
    grants.extend(
        ["balances", "service", "backdated_days", "api_key_uses", "webhook_progress"]
            .map(|t| format!("GRANT UPDATE ON {t} TO {to}")),
    );
    grants.extend(
        ["holds", "open_lines", "matched_entries"].map(|t| format!("GRANT DELETE ON {t} TO {to}")),
    );
    for grant in grants {
        raw.execute(&grant).await.expect(&grant);
    }
    let scheme = database.url.split(':').next().unwrap();
    let url = format!("{scheme}://{user}:p@127.0.0.1:{}/{name}", server.port);
    let mut options = options(&url);
    options.migrate = false;
    let serving = Database { url, ..database };
    let running = Running::start(options, serving).await;
    open_pair(&running.api).await;
    let account = json!({"code": "m", "name": "m", "currency": "EUR", "normal_balance": "debit", "metadata": {"a": "b"}});
    assert_eq!(running.api.post("/v1/accounts", &account).await.status, 201);
    let posted = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(posted.status, 201, "{}", posted.body);
    crate::pending::hold_and_void(&running.api).await;
    let key = json!({"name": "n", "role": "reader"});
    assert_eq!(running.api.post("/v1/keys", &key).await.status, 201);
    assert_eq!(running.api.post("/v1/keys/1/revoke", &json!({})).await.status, 200);
    let webhook = json!({"url": "http://127.0.0.1:1/"});
    assert_eq!(running.api.post("/v1/webhooks", &webhook).await.status, 201);
    assert_eq!(running.api.post("/v1/webhooks/1/remove", &json!({})).await.status, 200);
    crate::reconciliation::once(&running.api).await;
    becomes_ready(&running).await;
    let mut raw = running.database.connect().await;
    for sql in [
        "UPDATE api_keys SET role = 'admin'",
        "DELETE FROM audit_log",
        "TRUNCATE TABLE entries",
        "DELETE FROM entries",
        "DROP TABLE entries",
        "UPDATE accounts SET name = 'x'",
    ] {
        raw.execute(sql).await.expect_err(sql);
    }
}

async fn a_unix_socket_is_a_way_in(server: &Server) {
    let database = server.database().await;
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let user = rest.split_once('@').unwrap().0;
    let folder = server.path("run").display().to_string();
    let url = match server.engine {
        Engine::Postgres => {
            let folder = folder.replace('/', "%2F");
            format!("{scheme}://{user}@{folder}:{}/{}", server.port, database.name())
        }
        _ => format!("mariadb://{user}@localhost/{}?socket={folder}/mysqld.sock", database.name()),
    };
    let running = Running::start(options(&url), database).await;
    open_pair(&running.api).await;
    becomes_ready(&running).await;
    let engine = if server.engine == Engine::Postgres { "postgres" } else { "mysql" };
    let info = format!("forebay_ledger_database_info{{engine=\"{engine}\"}}");
    assert!((running.api.metric(&info).await - 1.0).abs() < 0.1);
}

/// Each unsafe setting refuses the start by name; the flag permits it and raises the metric.
async fn unsafe_settings_are_refused_by_name(server: &Server) {
    let database = server.database().await;
    let cases: &[(&[&str], &str)] = match server.engine {
        Engine::Postgres => &[
            (&["-cfsync=off"], "fsync is off, set it to on"),
            (&["-cfull_page_writes=off"], "full_page_writes is off, set it to on"),
            (&["-csynchronous_commit=off"], "synchronous_commit is off, set it to on"),
        ],
        _ => &[
            (
                &["--innodb-flush-log-at-trx-commit=2"],
                "innodb_flush_log_at_trx_commit is 2, set it to 1",
            ),
            (&["--log-bin=b", "--sync-binlog=0"], "sync_binlog is 0, set it to 1"),
            (&["--skip-innodb-doublewrite"], "innodb_doublewrite is OFF, set it to ON"),
            (
                &["--default-storage-engine=MyISAM"],
                "default_storage_engine is MyISAM, set it to InnoDB",
            ),
            (&["--sql-mode=NO_ENGINE_SUBSTITUTION"], "set it to a list with STRICT_TRANS_TABLES"),
        ],
    };
    for (settings, said) in cases {
        server.stop();
        server.set(settings);
        server.launch().await;
        let error = refused(&database.url).await;
        assert!(matches!(error, StoreError::Unsafe { .. }) && error.is_bad_document());
        assert!(error.to_string().contains(said), "{error}");
    }
    let mut allowed = options(&database.url);
    allowed.allow_unsafe = true;
    let running = Running::start(allowed, database).await;
    assert!((running.api.metric("forebay_ledger_unsafe_durability").await - 1.0).abs() < 0.1);
    assert_eq!(running.service.stop().await.unwrap(), 0);
    server.stop();
    server.set(&[]);
    server.launch().await;
}

async fn all_cases(engine: Engine) {
    let server = Server::start(engine, &[]).await;
    Box::pin(a_commit_cut_off_is_settled_by_its_key(&server)).await;
    Box::pin(what_is_posted_cannot_be_changed_by_sql_either(&server)).await;
    Box::pin(one_database_has_one_service(&server)).await;
    Box::pin(foreign_and_newer_databases_are_left_alone(&server)).await;
    Box::pin(the_recommended_grants_suffice(&server)).await;
    Box::pin(a_unix_socket_is_a_way_in(&server)).await;
}

async fn coming_and_going(engine: Engine) {
    let server = Server::start(engine, &[]).await;
    Box::pin(unsafe_settings_are_refused_by_name(&server)).await;
    Box::pin(away_and_back(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb() {
    Box::pin(all_cases(Engine::MariaDb)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    Box::pin(all_cases(Engine::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_coming_and_going() {
    Box::pin(coming_and_going(Engine::MariaDb)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_coming_and_going() {
    Box::pin(coming_and_going(Engine::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_commits_nothing_by_itself_is_read_as_it_is_now() {
    let server = Server::start(Engine::MariaDb, &["--autocommit=0"]).await;
    let running = server.running().await;
    for _ in 0..4 {
        assert_eq!(running.api.get("/v1/accounts/eur:debit").await.problem(), "account-not-found");
    }
    open_pair(&running.api).await;
    running.api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await;
    for _ in 0..4 {
        let statement = running.api.read("/v1/accounts/eur:debit/statement").await;
        assert_eq!(statement["closing_balance"], "1.00");
    }
}
