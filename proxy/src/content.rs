//! What a route answers without asking anybody else.

use std::sync::Arc;

use http::{Method, StatusCode};
use pingora::proxy::Session;
use proxy_config::detours::Step;

use crate::detour::{Detour, Next, Why};
use crate::edge::Exchange;
use crate::files::{Files, Found};
use crate::respond::Failure;
use crate::{file_answer, local};

/// Answers the request if its route does so by itself; what it passes on goes to cache and upstream.
pub async fn answer(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Failure> {
    if let Some(reply) = exchange.ruled.reply.take() {
        return local::reply(session, exchange, reply).await.map(|()| Next::Sent);
    }
    let files = exchange.route.as_ref().and_then(|route| route.files.clone());
    for step in std::mem::take(&mut exchange.ruled.tries) {
        match (step, &files) {
            (Step::File(path), Some(files)) => {
                if is_sent(session, exchange, files, &path).await? {
                    return Ok(Next::Sent);
                }
            }
            // Validation refuses files without a directory.
            (Step::File(_), None) => {}
            (Step::To(to), _) => return Ok(Next::Elsewhere(Detour { to, why: Why::Try })),
            (Step::Status(status), _) => {
                let status = StatusCode::from_u16(status).map_err(|_| Failure::Internal)?;
                return Err(Failure::Tried(status));
            }
        }
    }
    let Some(files) = files else { return Ok(Next::PassOn) };
    file_answer::answer(session, exchange, &files).await.map(|()| Next::Sent)
}

/// Answers with the file a step of `try` names, if it is there. A path that ends in `/` names a
/// directory with an index.
async fn is_sent(
    session: &mut Session,
    exchange: &mut Exchange,
    files: &Arc<Files>,
    step: &str,
) -> Result<bool, Failure> {
    let path = step.split('?').next().unwrap_or_default();
    let Found::File(file) = file_answer::find(files, path, &session.req_header().headers).await?
    else {
        return Ok(false);
    };
    let head = session.req_header();
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(file_answer::only_to_be_read());
    }
    if path.ends_with('/') && !head.uri.path().ends_with('/') {
        return file_answer::to_directory(session, exchange).await.map(|()| true);
    }
    file_answer::send(session, exchange, *file, files.precompressed).await.map(|()| true)
}
