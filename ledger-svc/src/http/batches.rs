//! `/v1/batches`: many transfers in one request, answered together or line by line.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::app::App;
use super::extract::JsonBytes;
use super::problem::{Details, Kind, Problem};
use super::transfers::verdict_problem;
use crate::batch::{Answer, Group, Verdict};
use crate::json;
use crate::metrics::Metrics;
use crate::transfer::{BatchBody, Transfer, TransferRequest};

/// What became of one request of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchResult {
    /// Of `/v1/batches.ndjson`: the line it answers, from 1.
    #[schema(minimum = 1)]
    pub line: Option<u64>,
    /// The request's key; missing when the line could not be read.
    pub key: Option<String>,
    /// The status it would have been answered with alone.
    #[schema(example = 201)]
    pub status: u16,
    /// Whether it was booked before, under this key.
    pub replayed: Option<bool>,
    /// The booked transfer's id.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub id: Option<Uuid>,
    /// The booked transfer, as when it was sent alone; left out with `Prefer: return=minimal`.
    pub transfer: Option<Transfer>,
    /// Why it was not booked.
    pub problem: Option<Details>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    /// How many requests are booked, now or before.
    pub booked: usize,
    /// How many are not.
    pub refused: usize,
    /// In the order of the requests.
    pub results: Vec<BatchResult>,
}

/// Book a batch
///
/// Up to 1000 requests in one SQL transaction, answered after it is durable. Each has its own key, so a
/// batch is retried as it is. Independent requests are answered each on its own merits; with
/// `all_or_nothing` the first that is refused is the answer, and nothing is booked.
#[utoipa::path(
    post, path = "/v1/batches", operation_id = "createBatch", tag = "transfers",
    params(("Prefer" = Option<String>, Header, description = "`return=minimal` leaves out the transfers (RFC 7240)")),
    request_body = BatchBody,
    responses((status = 200, description = "A result for every request", body = BatchAnswer))
)]
pub async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: BatchBody = json::read(&body.0)?;
    let (found, max) = (body.transfers.len(), app.limits.batch_max);
    if !(1..=max).contains(&found) {
        let detail = format!("a batch has 1 to {max} transfers, this one has {found}");
        return Err(Problem::new(Kind::InvalidBody, detail).at("transfers".into()));
    }
    let mut requests = Vec::with_capacity(found);
    for (index, item) in body.transfers.into_iter().enumerate() {
        let request = item.request(app.limits.entries_max);
        requests.push(request.map_err(|error| of_item(error.into(), index))?);
    }
    let entries = entries_of(&app, &requests).await?;
    let keys: Vec<String> = requests.iter().map(|r| r.key.as_str().to_owned()).collect();
    let group = Group { requests, all_or_nothing: body.all_or_nothing };
    let verdicts = app.writer.transfers(group, entries).await?;
    if body.all_or_nothing {
        let refused = |verdict: &Verdict| !verdict.is_booked() && *verdict != Verdict::Withheld;
        if let Some(index) = verdicts.iter().position(refused) {
            let problem = verdicts.into_iter().nth(index).and_then(verdict_problem);
            return Err(problem.map_or_else(internal, |problem| of_item(problem, index)));
        }
    }
    let minimal = is_minimal(&headers);
    let booked = verdicts.iter().filter(|verdict| verdict.is_booked()).count();
    let refused = verdicts.len() - booked;
    let mut text = format!("{{\"booked\":{booked},\"refused\":{refused},\"results\":[");
    for (index, (key, verdict)) in keys.iter().zip(verdicts).enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_result(&app.metrics, &mut text, None, Some(key), verdict, minimal);
    }
    text.push_str("]}");
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn internal() -> Problem {
    Problem::new(Kind::Internal, "a verdict without a reason")
}

/// The problem of one request, when it is the answer to them all.
fn of_item(problem: Problem, index: usize) -> Problem {
    problem.within(&format!("transfers[{index}]"))
}

/// Whether the client asks for less (RFC 7240).
pub fn is_minimal(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).any(|one| one.trim() == "return=minimal")
}

/// How many entries the requests have, or the transfers they follow. One that follows a transfer there is
/// not is the writer's to refuse.
pub async fn entries_of(app: &App, requests: &[TransferRequest]) -> Result<usize, Problem> {
    let mut entries = 0;
    for request in requests {
        entries += request.action.entry_count();
        if let Some(of) = request.action.of() {
            let followed = app.reader.entries_of(of).await?.unwrap_or(0);
            entries += usize::try_from(followed).unwrap_or(0);
        }
    }
    Ok(entries)
}

/// One result as JSON. The stored bytes of an answer go in as they are.
pub fn write_result(
    metrics: &Metrics,
    text: &mut String,
    line: Option<u64>,
    key: Option<&str>,
    verdict: Verdict,
    minimal: bool,
) {
    begin(text, line, key);
    match verdict {
        Verdict::Posted(answer) => write_answer(text, &answer, false, minimal),
        Verdict::Replayed(answer) => write_answer(text, &answer, true, minimal),
        refused => write_problem(metrics, text, &verdict_problem(refused).unwrap_or_else(internal)),
    }
}

/// A result that is a problem, as JSON.
pub fn write_refusal(
    metrics: &Metrics,
    text: &mut String,
    line: Option<u64>,
    key: Option<&str>,
    problem: &Problem,
) {
    begin(text, line, key);
    write_problem(metrics, text, problem);
}

fn begin(text: &mut String, line: Option<u64>, key: Option<&str>) {
    text.push('{');
    if let Some(line) = line {
        text.push_str(&format!("\"line\":{line},"));
    }
    if let Some(key) = key {
        text.push_str(&format!("\"key\":{},", serde_json::json!(key)));
    }
}

fn write_answer(text: &mut String, answer: &Answer, replayed: bool, minimal: bool) {
    let Answer { transfer_id, status, .. } = answer;
    text.push_str(&format!("\"status\":{status},\"replayed\":{replayed},\"id\":\"{transfer_id}\""));
    if !minimal {
        text.push_str(",\"transfer\":");
        text.push_str(&answer.body());
    }
    text.push('}');
}

fn write_problem(metrics: &Metrics, text: &mut String, problem: &Problem) {
    let row = problem.kind.row();
    metrics.problems.with_label_values(&[row.name]).inc();
    text.push_str(&format!("\"status\":{},\"problem\":{}}}", row.status, problem.json()));
}
