//! What a route does to requests and responses, made ready. The proxy and `explain` ask it alike.

use http::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::detours::{Page, Tries};
use crate::facts::Facts;
use crate::header_edits::{Edits, fields, rendered};
use crate::host::HostPattern;
use crate::pattern::ValueMatch;
use crate::rewriting::Rewriting;
use crate::route::{PathMatch, Route};
use crate::route_action::Respond;
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

/// The rules of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteRules {
    pub reply: Option<Reply>,
    pub rewrite: Option<Rewriting>,
    pub request_headers: Edits,
    pub response_headers: Edits,
    pub tries: Tries,
    pub pages: Vec<Page>,
}

/// What the templates of a route may name.
pub fn scope<'a>(config: &'a Config, route: &Route) -> Scope<'a> {
    let mut scope =
        Scope { maps: config.maps.keys().map(String::as_str).collect(), ..Scope::default() };
    let when = &route.when;
    let paths = when.paths.iter().filter_map(|path| match path {
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
    for regex in paths.chain(hosts).chain(headers) {
        if let Ok(regex) = regex.compile() {
            scope.add(&regex);
        }
    }
    scope
}

impl RouteRules {
    pub fn new(config: &Config, route: &Route) -> Result<RouteRules, TemplateError> {
        let scope = scope(config, route);
        let edits = |edits: &Option<_>| match edits {
            Some(edits) => Edits::new(edits, &scope),
            None => Ok(Edits::default()),
        };
        let rewrite = route.rewrite.as_ref();
        let redirect = match &route.redirect {
            Some(redirect) => Some(Reply {
                status: redirect.status,
                headers: vec![(http::header::LOCATION, Compiled::new(&redirect.to.0, &scope)?)],
                body: None,
            }),
            None => None,
        };
        let respond = route.respond.as_ref().map(|respond| Reply::new(respond, &scope));
        let pages: Result<Vec<_>, _> =
            route.error_pages.iter().map(|page| Page::new(page, &scope)).collect();
        Ok(RouteRules {
            reply: redirect.or(respond.transpose()?),
            rewrite: rewrite.map(|rewrite| Rewriting::new(rewrite, &scope)).transpose()?,
            request_headers: edits(&route.request_headers)?,
            response_headers: edits(&route.response_headers)?,
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
    fn new(respond: &Respond, scope: &Scope<'_>) -> Result<Reply, TemplateError> {
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
