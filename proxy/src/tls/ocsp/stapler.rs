//! Asks responders about the certificates that are shown, one after the other, each in time; what they answer outlives
//! a reload.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::runtimes::Place;
use crate::state::State;
use crate::tls::ocsp::message::{ANSWER_BYTES_MAX, Answered, Question, Refusal};
use crate::tls::ocsp::{backoff, refresh_at};
use crate::tls::shown::Shown;

/// How long a responder may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A certificate that was renewed is noticed this soon.
const LOOK_MAX_S: i64 = 30;
/// When one that is revoked is asked about again.
const REVOKED_S: i64 = 3600;

type Leaf = [u8; 32];

/// What is known of one certificate. Times are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What is stapled, and until when it is good.
    pub answer: Option<(Arc<[u8]>, Answered)>,
    due: i64,
    failures: u32,
    /// Why nothing, or nothing newer, is stapled.
    pub why: Option<String>,
}

/// The answers of the process. A reload keeps them.
#[derive(Default)]
pub struct Staples {
    known: Mutex<BTreeMap<Leaf, Known>>,
    stapler: Mutex<Option<watch::Sender<Vec<Arc<Shown>>>>>,
}

fn leaf(certificate: &CertificateDer<'_>) -> Leaf {
    Sha256::digest(certificate).into()
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

impl Staples {
    /// Gives a certificate what is known of it, if that is still good.
    pub fn apply(&self, shown: &Shown) {
        let Some(certificate) = shown.get().and_then(|key| key.cert.first().cloned()) else {
            return;
        };
        let answer = self.known.lock().get(&leaf(&certificate)).and_then(|k| k.answer.clone());
        let good = answer.filter(|(_, answered)| answered.next_update > now());
        shown.staple(&certificate, good.map(|(answer, _)| answer.to_vec()));
    }

    /// What is known of a certificate.
    pub fn of(&self, shown: &Shown) -> Option<Known> {
        let key = shown.get()?;
        self.known.lock().get(&leaf(key.cert.first()?)).cloned()
    }

    /// Has these asked about, and no others.
    pub fn replace(&self, wanted: Vec<Arc<Shown>>, state: &Arc<State>) {
        let mut stapler = self.stapler.lock();
        match &*stapler {
            Some(tell) => drop(tell.send_replace(wanted)),
            None if wanted.is_empty() => {}
            None => {
                let (tell, told) = watch::channel(wanted);
                let asking = Stapler {
                    client: Client::builder(TokioExecutor::new()).build_http(),
                    fetches: state.metrics.certificates.ocsp_fetches.clone(),
                    state: Arc::clone(state),
                    wanted: told,
                };
                state.runtimes.of(Place::Bulk).spawn(asking.run());
                *stapler = Some(tell);
            }
        }
    }
}

struct Stapler {
    client: Client<HttpConnector, Full<Bytes>>,
    fetches: IntCounterVec,
    state: Arc<State>,
    wanted: watch::Receiver<Vec<Arc<Shown>>>,
}

impl Stapler {
    async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let mut leaves = Vec::new();
            let mut next = i64::MAX;
            for shown in &wanted {
                let Some(key) = shown.get() else { continue };
                let Some(certificate) = key.cert.first() else { continue };
                let leaf = leaf(certificate);
                leaves.push(leaf);
                let known = self.known(leaf);
                if known.due <= now() {
                    let known = self.asked(shown, &key.cert, known).await;
                    self.state.tls.staples.known.lock().insert(leaf, known);
                }
                // What is over is not sent any more, too.
                self.state.tls.staples.apply(shown);
                let known = self.known(leaf);
                let over = known.answer.map(|(_, answered)| answered.next_update);
                let over = over.filter(|over| *over > now()).unwrap_or(i64::MAX);
                next = next.min(known.due).min(over);
            }
            self.state.tls.staples.known.lock().retain(|leaf, _| leaves.contains(leaf));
            let wait = next.saturating_sub(now()).clamp(1, LOOK_MAX_S);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(wait.unsigned_abs())) => {}
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    fn known(&self, leaf: Leaf) -> Known {
        self.state.tls.staples.known.lock().get(&leaf).cloned().unwrap_or_default()
    }

    /// Asks; returns what is known afterwards.
    async fn asked(
        &self,
        shown: &Shown,
        chain: &[CertificateDer<'static>],
        mut known: Known,
    ) -> Known {
        let certificate = shown.label.as_str();
        let question = match Question::of(chain) {
            Ok(Some(question)) => question,
            Ok(None) => {
                tracing::info!(certificate, "it names no OCSP responder: nothing is stapled");
                let why = Some("it names no responder".to_owned());
                return Known { due: i64::MAX, why, ..known };
            }
            Err(why) => {
                tracing::warn!(certificate, why, "it cannot be asked about: nothing is stapled");
                return Known { due: i64::MAX, why: Some(why), ..known };
            }
        };
        let responder = question.responder.clone();
        let fetched = tokio::time::timeout(ANSWER_MAX, self.fetch(&question)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("nobody answered in time".to_owned()));
        let judged = fetched.map(|answer| (question.judge(&answer, now()), answer));
        let (result, why) = match judged {
            Ok((Ok(answered), answer)) => {
                self.fetches.with_label_values(&["good"]).inc();
                let due = refresh_at(answered, now(), fastrand::f64());
                tracing::debug!(certificate, responder, "a fresh answer is stapled");
                let answer = Some((Arc::from(answer), answered));
                return Known { answer, due, failures: 0, why: None };
            }
            Ok((Err(refusal), _)) => {
                if refusal == Refusal::Revoked {
                    // What was said before is no longer true.
                    known.answer = None;
                }
                let result = match refusal {
                    Refusal::Revoked => "revoked",
                    _ => "refused",
                };
                (result, refusal.to_string())
            }
            Err(why) => ("unreachable", why),
        };
        self.fetches.with_label_values(&[result]).inc();
        tracing::warn!(certificate, responder, why, "no fresh answer of OCSP");
        let failures = known.failures.saturating_add(1);
        let wait = if result == "revoked" { REVOKED_S } else { backoff(failures) };
        Known { due: now() + wait, failures, why: Some(why), ..known }
    }

    async fn fetch(&self, question: &Question) -> Result<Vec<u8>, String> {
        let uri: Uri = question.responder.parse().map_err(|_| "its URL is malformed".to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err("responders are asked over http only".to_owned());
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/ocsp-request")
            .header(header::ACCEPT, "application/ocsp-response")
            .body(Full::new(Bytes::from(question.bytes()?)))
            .map_err(|error| error.to_string())?;
        let answered = self.client.request(request).await.map_err(|error| error.to_string())?;
        if answered.status() != StatusCode::OK {
            return Err(format!("it answered with {}", answered.status()));
        }
        let whole = Limited::new(answered.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(whole.map_err(|error| error.to_string())?.to_bytes().to_vec())
    }
}
