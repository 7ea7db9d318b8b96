//! What a route answers without asking anybody else.

use std::sync::Arc;

use http::header::LOCATION;
use http::{Method, StatusCode};
use pingora::proxy::Session;
use proxy_config::detours::{Step, To};

use crate::detour;
use crate::detour::trail::{Detour, Next, Why};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::files::{Files, Found};
use crate::{file_answer, local};

/// Answers the request if its route does so by itself; what it passes on goes to cache and upstream.
pub async fn answer(session: &mut Session, exchange: &mut Exchange) -> Result<Next, Failure> {
    if let Some(reply) = exchange.ruled.reply.take() {
        if reply.leads_nowhere() {
            return Err(Failure::LeadsNowhere);
        }
        // An error without a body of its own is one that a page may stand in for.
        let status = StatusCode::from_u16(reply.status).ok();
        let has_page = exchange.route.as_ref().is_some_and(|route| {
            route.rules.pages.iter().any(|page| page.takes(reply.status, false))
        });
        detour::speaks_for_itself(exchange, reply.status);
        if let Some(status) = status.filter(|_| has_page && reply.body.is_empty()) {
            let location = reply.headers.iter().find(|(name, _)| *name == LOCATION);
            return Err(match location {
                Some((_, location)) => Failure::Redirected(status, location.clone()),
                None => Failure::Tried(status),
            });
        }
        return local::reply(session, exchange, reply).await.map(|()| Next::Sent);
    }
    let files = exchange.route.as_ref().and_then(|route| route.files.clone());
    let texts = &mut exchange.ruled.texts;
    let (root, index) = (texts.root.take(), texts.index.take());
    let files = files.map(|files| files.told(root, index));
    for step in std::mem::take(&mut exchange.ruled.tries) {
        match (step, &files) {
            (Step::File(path, false), _) if path.ends_with('/') => {}
            (Step::File(path, is_directory), Some(files)) => {
                if is_directory && files.index_anew {
                    match directory(session, exchange, files, &path).await? {
                        Some(next) => return Ok(next),
                        None => continue,
                    }
                }
                if is_sent(session, exchange, files, &path).await? {
                    return Ok(Next::Sent);
                }
            }
            // Validation refuses files without a directory.
            (Step::File(..), None) => {}
            (Step::To(to), _) => {
                return Ok(Next::Elsewhere(Detour { to: to.into(), why: Why::Try }));
            }
            (Step::Status(status), _) => {
                let status = StatusCode::from_u16(status).map_err(|_| Failure::Internal)?;
                return Err(Failure::Tried(status));
            }
        }
    }
    let Some(files) = files else { return Ok(Next::PassOn) };
    let path = session.req_header().uri.path().to_owned();
    if let Some(next) = anew(session, &files, &path).await? {
        return Ok(next);
    }
    file_answer::answer(session, exchange, &files).await.map(|()| Next::Sent)
}

/// Answers with the directory a step of `try` names, if it is there: as for a request for it without the slash that the
/// step ends in.
async fn directory(
    session: &mut Session,
    exchange: &mut Exchange,
    files: &Arc<Files>,
    step: &str,
) -> Result<Option<Next>, Failure> {
    let path = step.split('?').next().unwrap_or_default();
    let bare = path.strip_suffix('/').unwrap_or(path);
    let found = file_answer::find(files, bare, session.req_header()).await?;
    match found {
        Found::Directory => {
            let to = exchange.ruled.asked.clone().filter(|asked| asked.starts_with(bare));
            let is_asked = session.req_header().uri.path() == bare || to.is_some();
            if !is_asked {
                session
                    .req_header_mut()
                    .set_raw_path(bare.as_bytes())
                    .map_err(|_| Failure::Internal)?;
                exchange.ruled.asked = Some(bare.to_owned());
            }
            file_answer::to_directory(session, exchange).await.map(|()| Some(Next::Sent))
        }
        Found::Missing => Ok(None),
        _ if !bare.ends_with('/') => Ok(None),
        found => {
            if let Some(next) = anew(session, files, bare).await? {
                return Ok(Some(next));
            }
            file_answer::found(session, exchange, files, found).await.map(|()| Some(Next::Sent))
        }
    }
}

/// Where the index of a directory is asked for, when that is by its own path.
async fn anew(
    session: &mut Session,
    files: &Arc<Files>,
    path: &str,
) -> Result<Option<Next>, Failure> {
    if !files.index_anew || !path.ends_with('/') {
        return Ok(None);
    }
    let head = session.req_header();
    let Some(index) = file_answer::index(files, path, head).await? else {
        return Ok(None);
    };
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = match index.starts_with('/') {
        true => To::Path(format!("{index}{query}")),
        false => To::Path(format!("{path}{index}{query}")),
    };
    Ok(Some(Next::Elsewhere(Detour { to: to.into(), why: Why::Try })))
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
    let Found::File(file) = file_answer::find(files, path, session.req_header()).await? else {
        return Ok(false);
    };
    let head = session.req_header();
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(file_answer::only_to_be_read());
    }
    if path.ends_with('/') && !head.uri.path().ends_with('/') {
        return file_answer::to_directory(session, exchange).await.map(|()| true);
    }
    file_answer::send(session, exchange, *file, files).await.map(|()| true)
}
