//! What a route answers without asking anybody else.

use pingora::proxy::Session;

use crate::edge::Exchange;
use crate::respond::Failure;
use crate::{file_answer, local};

/// Answers the request if its route does so by itself; `false`: it goes on to cache and upstream.
pub async fn answer(session: &mut Session, exchange: &mut Exchange) -> Result<bool, Failure> {
    if let Some(reply) = exchange.ruled.reply.take() {
        return local::reply(session, exchange, reply).await.map(|()| true);
    }
    let files = exchange.route.as_ref().and_then(|route| route.files.clone());
    let Some(files) = files else { return Ok(false) };
    file_answer::answer(session, exchange, &files).await.map(|()| true)
}
