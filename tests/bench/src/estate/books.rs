//! A ledger on a MariaDB of its own, with two accounts.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_load::transactions::Requests;

use crate::peer::Places;
use crate::running::Bench;

const START_MAX: Duration = Duration::from_secs(60);

/// They run for as long as this lives.
pub struct Books {
    ledger: Child,
    database: Child,
    url: String,
    pub address: SocketAddr,
    next: Arc<AtomicU64>,
    folder: tempfile::TempDir,
}

impl Books {
    /// Durable as it is by default: nobody is answered before the commit is on disk.
    pub fn start(bench: &Bench) -> Result<Books> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut database = database(bench, folder.path(), port)?;
        let url = format!("mysql://ledger:ledger@127.0.0.1:{port}/ledger");
        let started = ledger(bench, folder.path(), &url, &mut database);
        let (ledger, address) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = database.kill();
                let _ = database.wait();
                return Err(error);
            }
        };
        let books = Books { ledger, database, url, address, next: Arc::default(), folder };
        for (code, side) in [("viewers", "credit"), ("purse", "debit")] {
            let body = format!(
                r#"{{"code":"{code}","name":"{code}","currency":"EUR","normal_balance":"{side}"}}"#
            );
            books.ask(&post("/v1/accounts", "", &body))?;
        }
        Ok(books)
    }

    /// Transfers between the two accounts, each with a key of its own.
    pub fn transfers(&self) -> Requests {
        let next = Arc::clone(&self.next);
        Arc::new(move || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let body = r#"{"description":"a film","entries":[{"account":"purse","direction":"debit","amount":"3.20"},{"account":"viewers","direction":"credit","amount":"3.20"}]}"#;
            post("/v1/transfers", &format!("Idempotency-Key: film-{number}\r\n"), body).into_bytes()
        })
    }

    /// Transfers that were sent.
    pub fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn ask(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_MAX))?;
        stream.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        Ok(answer)
    }

    /// What the purse holds, in cents: 320 for each transfer that is in the books.
    pub fn purse_cents(&self) -> Result<u64> {
        let answer = self.ask("GET /v1/accounts/purse/balance HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let balance: serde_json::Value = serde_json::from_str(body)?;
        let debits = balance["debits"].as_str().context("a balance has debits")?;
        debits.replace('.', "").parse().with_context(|| debits.to_owned())
    }

    /// Recomputes the books from their rows.
    pub fn verify(&self, bench: &Bench) -> Result<()> {
        let words = ["forebay-ledger", "verify"].map(str::to_owned);
        let mut command = bench.command(&words, &Places::new());
        let output = command.env("FOREBAY_LEDGER_DATABASE", &self.url).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Where the books are on disk.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        for child in [&mut self.ledger, &mut self.database] {
            // Ended already is ended enough.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn database(bench: &Bench, folder: &Path, port: u16) -> Result<Child> {
    let places =
        Places::from([("@FOLDER@", folder.display().to_string()), ("@PORT@", port.to_string())]);
    // Only root has to say that it means to be the user; nobody else may.
    let user = rustix::process::geteuid().is_root().then_some("--user=root");
    let make = "mariadb-install-db --no-defaults --datadir=@FOLDER@/data --auth-root-authentication-method=normal --skip-test-db";
    let made =
        bench.command(&words(make), &places).args(user).output().context("mariadb-install-db")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let users = "CREATE DATABASE IF NOT EXISTS ledger;\nCREATE USER IF NOT EXISTS ledger IDENTIFIED BY 'ledger';\nGRANT ALL ON *.* TO ledger;\n";
    fs::write(folder.join("users.sql"), users)?;
    let run = "mariadbd --no-defaults --skip-name-resolve --bind-address=127.0.0.1 --port=@PORT@ --datadir=@FOLDER@/data --socket=@FOLDER@/mysqld.sock --pid-file=@FOLDER@/mysqld.pid --init-file=@FOLDER@/users.sql --innodb-buffer-pool-size=256M";
    let log = File::create(folder.join("database.log"))?;
    let mut command = bench.command(&words(run), &places);
    command.args(user).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("mariadbd cannot be started")
}

fn ledger(
    bench: &Bench,
    folder: &Path,
    url: &str,
    database: &mut Child,
) -> Result<(Child, SocketAddr)> {
    let run =
        words("forebay-ledger serve --auth open --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
    let begun = Instant::now();
    let file = folder.join("addresses.json");
    let said = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    // It does not wait for its database: it is started until that is there.
    loop {
        ensure!(database.try_wait()?.is_none(), "MariaDB ended: {}", said("database.log"));
        let log = File::create(folder.join("ledger.log"))?;
        let mut command: Command = bench.command(&run, &Places::new());
        command.arg("--addresses-file").arg(&file).env("FOREBAY_LEDGER_DATABASE", url);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut ledger = command.spawn().context("forebay-ledger cannot be started")?;
        loop {
            if let Some(address) = address(&file) {
                return Ok((ledger, address));
            }
            if ledger.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if begun.elapsed() > START_MAX {
            bail!("the ledger does not start: {}", said("ledger.log"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Where the ledger listens, once it has written that down.
fn address(file: &Path) -> Option<SocketAddr> {
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    addresses["listen"].as_str()?.parse().ok()
}
