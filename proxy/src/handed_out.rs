//! `X-Sendfile`: a file that an upstream's answer names by its path on the disk, sent in place of the answer's body. Only
//! what lies beneath a directory of the upstream's `x_sendfile` is (docs/decisions/0126).

pub mod named;

use http::StatusCode;
use pingora::proxy::Session;

use crate::cache::conditional;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::file_answer;
use crate::files::Found;
use crate::handed_out::named::Named;

/// Answers with a file that an upstream's answer has named.
pub async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    named: Named,
) -> Result<(), Failure> {
    let Named { path, status, fields, folders } = named;
    let said = path.clone();
    let found = tokio::task::spawn_blocking(move || folders.find(said.as_bytes())).await;
    let found = found.map_err(|_| Failure::Internal)?.map_err(|error| {
        tracing::warn!(?path, %error, "a file that an upstream names could not be opened");
        Failure::Internal
    })?;
    let Some((files, found)) = found else {
        let request_id = &exchange.request_id;
        tracing::warn!(
            request_id,
            ?path,
            "an upstream names a file that is in no directory of its `x_sendfile`"
        );
        return Err(Failure::Internal);
    };
    let file = match found {
        Found::File(file) => *file,
        Found::Forbidden => return Err(Failure::Forbidden("this file cannot be read")),
        Found::Missing | Found::Directory | Found::Entries(_) => return Err(Failure::NoFile),
    };
    if !status.is_success() && status != StatusCode::NOT_MODIFIED {
        // The page of an error is never partial.
        for name in conditional::LEFT_OUT {
            session.req_header_mut().remove_header(&name);
        }
        exchange.ruled.to_client.status.get_or_insert(status);
    }
    file_answer::send_with(session, exchange, file, &files, &fields).await
}
