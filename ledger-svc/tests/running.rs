//! Starts a service in a temporary directory on free ports, and speaks to it.

use std::net::SocketAddr;
use std::time::Duration;

use forebay_ledger::http::gate::Auth;
use forebay_ledger::http::{self, server};
use forebay_ledger::outbox;
use forebay_ledger::service::{self, Options, Service};
use forebay_ledger::writer;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::engine::{Database, Server};

/// How long anything in these tests may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Running {
    pub service: Service,
    pub api: Api,
    pub database: Database,
}

/// A client of one service's main listener.
#[derive(Clone)]
pub struct Api {
    pub client: Client,
    pub base: String,
    pub admin: String,
}

/// An answer read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

pub fn options(url: &str) -> Options {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Options {
        database: url.parse().unwrap(),
        migrate: true,
        allow_unsafe: false,
        listen: free,
        admin_listen: free,
        tls: None,
        signing: None,
        auth: Auth::Open,
        first_admin_key: None,
        http: http::Limits {
            body_bytes_max: 1 << 20,
            header_bytes_max: 16 << 10,
            entries_max: 1000,
            batch_max: 1000,
            keys_max: 1000,
            exports_max: 2,
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        },
        outbox: outbox::Limits::USUAL,
        server: server::Limits {
            connections_max: 256,
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(30),
        },
        writer: writer::Limits {
            queue_max: 4096,
            queue_entries_max: 200_000,
            batch_max: 1000,
            accounts_known_max: 100_000,
            balances_behind_max: 32_768,
        },
    }
}

impl Server {
    /// A service on a new database, with its usual limits.
    pub async fn running(&self) -> Running {
        self.running_with(|_| {}).await
    }

    /// A service with limits of the test's own.
    pub async fn running_with(&self, change: impl FnOnce(&mut Options)) -> Running {
        let database = self.database().await;
        let mut options = options(&database.url);
        change(&mut options);
        Running::start(options, database).await
    }
}

impl Running {
    pub async fn start(options: Options, database: Database) -> Self {
        let service = Box::pin(service::start(options)).await.unwrap();
        let api = Api::new(service.listen, service.admin_listen);
        Self { service, api, database }
    }
}

impl Api {
    pub fn new(listen: SocketAddr, admin: SocketAddr) -> Self {
        let client = Client::builder().timeout(DEADLINE).build().unwrap();
        Self { client, base: format!("http://{listen}"), admin: format!("http://{admin}") }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// A read that must succeed.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn transfer(&self, key: &str, body: &Value) -> Answer {
        answer(self.transfer_request(key, body)).await
    }

    pub fn transfer_request(&self, key: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/transfers").header("idempotency-key", key).json(body)
    }

    /// Opens accounts named by their currency and side, such as `eur:debit:0`.
    pub async fn open(&self, code: &str) {
        let mut parts = code.split(':');
        let (currency, side) = (parts.next().unwrap(), parts.next().unwrap());
        let body = json!({
            "code": code, "name": code, "currency": currency.to_uppercase(), "normal_balance": side,
        });
        let answer = self.post("/v1/accounts", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// The value of a metric, labels written as scraped; 0 before it is first counted.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = answer(self.client.get(format!("{}/metrics", self.admin))).await;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        answer.body.lines().find_map(value).unwrap_or(0.0)
    }

    /// Waits until a metric has at least this value.
    pub async fn metric_reaches(&self, name: &str, least: f64) {
        let reached = async {
            while self.metric(name).await < least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("the metric never got there");
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The last part of the problem's type; fails when the answer is no problem.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        let kind = body["type"].as_str().unwrap();
        kind.strip_prefix("urn:forebay:ledger:problem:").unwrap().to_owned()
    }

    pub fn is_replay(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

/// A transfer of two entries.
pub fn moving(from: &str, to: &str, amount: &str) -> Value {
    json!({"description": "move", "entries": [
        {"account": to, "direction": "debit", "amount": amount},
        {"account": from, "direction": "credit", "amount": amount},
    ]})
}

/// Two accounts in euro between which transfers go.
pub async fn open_pair(api: &Api) {
    api.open("eur:debit").await;
    api.open("eur:credit").await;
}
