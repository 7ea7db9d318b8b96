//! What a route answers without asking anybody else.

use pingora::proxy::Session;

use crate::edge::Exchange;
use crate::local;
use crate::respond::Failure;

/// Answers the request if its route does so by itself; `false`: it goes on to cache and upstream.
pub async fn answer(session: &mut Session, exchange: &mut Exchange) -> Result<bool, Failure> {
    let Some(reply) = exchange.ruled.reply.take() else { return Ok(false) };
    local::reply(session, exchange, reply).await.map(|()| true)
}
