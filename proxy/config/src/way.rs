//! The way of a request through routes: along the steps of those that only take it a part of its
//! way, to the one that answers. The proxy and `explain` ask the same function.

use crate::facts::Facts;
use crate::matching::Router;
use crate::program::{Outcome, Program, Walk};
use crate::route_rules::RenderedReply;
use crate::steps::PathKind;

/// Times a route is looked for anew before a request counts as going in a circle.
const AGAIN_MAX: u32 = 10;

/// What the routes of a document are, to a request that looks for its way.
pub struct Map<'a> {
    pub router: &'a Router,
    pub program: &'a dyn Fn(usize) -> &'a Program,
    pub named: &'a dyn Fn(&str) -> Option<usize>,
    /// What a path on this machine leads to.
    pub leads_to: &'a dyn Fn(&str) -> Option<PathKind>,
}

/// Where a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At the route with this index, which answers, or whose steps did.
    Route(usize, Option<RenderedReply>),
    /// At a route whose steps close the connection.
    Close(usize),
    /// No route takes the request.
    NoRoute,
    /// The steps lead in a circle.
    Circle,
}

/// Leads a request from its first route to where it ends; `at` is the route it begins at when it was
/// sent there by name. `walk` holds its path and query, and in the end what they have become.
pub fn find(map: &Map<'_>, facts: &Facts<'_>, walk: &mut Walk, mut at: Option<usize>) -> End {
    let (mut from, mut again) = (0, 0);
    // After a rewrite only routes that answer are looked at: the others have done their part.
    let mut whole = true;
    loop {
        let mut target = facts.target;
        let (path, query) = (walk.path.clone(), walk.query.clone());
        (target.path, target.query) = (&path, &query);
        let found = at.take().or_else(|| match whole {
            true => map.router.find_from(from, &target),
            false => map.router.find(&target),
        });
        let Some(mut index) = found else { return End::NoRoute };
        walk.captures.arrive(map.router.captures(index, &target));
        let outcome = (map.program)(index).run(facts, walk, map.leads_to);
        let named = walk.route.take().and_then(|name| (map.named)(&name));
        walk.led_by_name = named.is_some();
        index = named.unwrap_or(index);
        match outcome {
            Outcome::Reply(reply) => return End::Route(index, Some(reply)),
            Outcome::Close => return End::Close(index),
            _ if map.router.is_passage(index) => from = index + 1,
            Outcome::Stay => return End::Route(index, None),
            Outcome::Again => {
                again += 1;
                if again > AGAIN_MAX {
                    return End::Circle;
                }
                whole = false;
            }
        }
    }
}
