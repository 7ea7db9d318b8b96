//! What a route does to requests and responses, made ready. The proxy and `explain` ask it alike.

use http::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::detours::{Page, Tries};
use crate::facts::Facts;
use crate::header_edits::{Edits, fields, rendered};
use crate::host::HostPattern;
use crate::pattern::{Regex, ValueMatch};
use crate::program::Program;
use crate::rewriting::Rewriting;
use crate::route::{PathMatch, Route};
use crate::route_action::{Redirect, Respond, TryStep};
use crate::steps::{Action, ConditionTest};
use crate::template::{Compiled, Scope, TemplateError};

/// An answer written in the document, or a redirect.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(HeaderName, Compiled)>,
    body: Option<Compiled>,
}

/// A reply to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedReply {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: String,
}

impl RenderedReply {
    /// A redirect. A target that cannot stand in a header is left out.
    pub fn to(status: u16, target: &str) -> RenderedReply {
        let value = HeaderValue::from_str(target).ok();
        let headers = value.map(|value| (http::header::LOCATION, value)).into_iter().collect();
        RenderedReply { status, headers, body: String::new() }
    }
}

/// The rules of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteRules {
    pub steps: Program,
    pub reply: Option<Reply>,
    pub rewrite: Option<Rewriting>,
    pub request_headers: Edits,
    pub response_headers: Edits,
    pub tries: Tries,
    pub pages: Vec<Page>,
}

/// The expressions that may have captured something of a request on a route.
fn expressions(route: &Route) -> impl Iterator<Item = &Regex> {
    let when = &route.when;
    let paths = when.paths.iter().chain(&when.within).filter_map(|path| match path {
        PathMatch::Regex(regex) => Some(regex),
        _ => None,
    });
    let hosts = when.hosts.iter().filter_map(|host| match host {
        HostPattern::Regex(host) => Some(&host.regex),
        HostPattern::Name(_) => None,
    });
    let headers = when.headers.iter().filter_map(|field| match &field.value {
        Some(ValueMatch::Regex(regex)) => Some(regex),
        _ => None,
    });
    let conditions = route.steps.iter().flat_map(|step| &step.when);
    let tests = conditions.filter_map(|condition| match &condition.is {
        Some(ConditionTest::Regex(regex)) => Some(regex),
        _ => None,
    });
    let actions = route.steps.iter().flat_map(|step| &step.then);
    let finds = actions.filter_map(|action| match action {
        Action::Rewrite(rewrite) => Some(&rewrite.find),
        _ => None,
    });
    paths.chain(hosts).chain(headers).chain(tests).chain(finds)
}

/// Whether a request may come from one route to another: by name, or along a passage of the same hosts.
fn leads_to(from: &Route, to: &Route) -> bool {
    if !to.is_by_name_only() {
        let (from_when, to_when) = (&from.when, &to.when);
        return !from.has_action()
            && from_when.hosts == to_when.hosts
            && from_when.listeners == to_when.listeners;
    }
    let mut actions = from.steps.iter().flat_map(|step| &step.then);
    let mut tries = from.tries.iter();
    let mut pages = from.error_pages.iter();
    actions.any(|action| matches!(action, Action::Route(name) if *name == to.name))
        || tries.any(|step| matches!(step, TryStep::Route(name) if *name == to.name))
        || pages.any(|page| page.route.as_ref() == Some(&to.name))
}

/// What the templates of a route may name: also what was captured on the way to it.
pub fn scope<'a>(config: &'a Config, route: &Route) -> Scope<'a> {
    let mut scope = Scope {
        maps: config.maps.keys().map(String::as_str).collect(),
        routes: &config.routes,
        ..Scope::default()
    };
    let elsewhere =
        config.routes.iter().filter(|other| leads_to(other, route)).flat_map(expressions);
    for regex in expressions(route).chain(elsewhere) {
        if let Ok(regex) = regex.compile() {
            scope.add(&regex);
        }
    }
    scope
}

impl RouteRules {
    pub fn new(config: &Config, route: &Route) -> Result<RouteRules, TemplateError> {
        let scope = scope(config, route);
        let of_answer = Scope { answer: true, ..scope.clone() };
        let edits = |edits: &Option<_>, scope: &Scope<'_>| match edits {
            Some(edits) => Edits::new(edits, scope),
            None => Ok(Edits::default()),
        };
        let rewrite = route.rewrite.as_ref();
        let redirect = match &route.redirect {
            Some(redirect) => Some(Reply::redirect(redirect, &scope)?),
            None => None,
        };
        let respond = route.respond.as_ref().map(|respond| Reply::new(respond, &scope));
        let pages: Result<Vec<_>, _> =
            route.error_pages.iter().map(|page| Page::new(page, &scope)).collect();
        Ok(RouteRules {
            steps: Program::new(&route.steps, &scope)?,
            reply: redirect.or(respond.transpose()?),
            rewrite: rewrite.map(|rewrite| Rewriting::new(rewrite, &scope)).transpose()?,
            request_headers: edits(&route.request_headers, &scope)?,
            response_headers: edits(&route.response_headers, &of_answer)?,
            tries: Tries::new(&route.tries, &scope)?,
            pages: pages?.into_iter().flatten().collect(),
        })
    }

    /// Whether anything asks for the request's facts.
    pub fn is_empty(&self) -> bool {
        self.reply.is_none()
            && self.rewrite.is_none()
            && self.request_headers.is_empty()
            && self.response_headers.is_empty()
            && self.tries.is_empty()
            && self.pages.is_empty()
    }
}

impl Reply {
    pub(crate) fn redirect(redirect: &Redirect, scope: &Scope<'_>) -> Result<Reply, TemplateError> {
        let to = Compiled::new(&redirect.to.0, scope)?;
        let headers = vec![(http::header::LOCATION, to)];
        Ok(Reply { status: redirect.status, headers, body: None })
    }

    pub(crate) fn new(respond: &Respond, scope: &Scope<'_>) -> Result<Reply, TemplateError> {
        let body = respond.body.as_ref();
        Ok(Reply {
            status: respond.status,
            headers: fields(&respond.headers, scope)?,
            body: body.map(|body| Compiled::new(&body.0, scope)).transpose()?,
        })
    }

    pub fn render(&self, facts: &Facts<'_>) -> RenderedReply {
        RenderedReply {
            status: self.status,
            headers: rendered(&self.headers, facts),
            body: self.body.as_ref().map(|body| body.render(facts)).unwrap_or_default(),
        }
    }
}
