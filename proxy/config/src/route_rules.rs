//! What a route does to requests and responses, made ready. The proxy and `explain` ask it alike.

use http::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::detours::{Page, Tries};
use crate::facts::Facts;
use crate::header_edits::{Edits, Rendered, fields, rendered};
use crate::late::Late;
use crate::leads::Leads;
use crate::pattern::Template;
use crate::program::Program;
use crate::rewriting::Rewriting;
use crate::route::Route;
use crate::route_access::Auth;
use crate::route_action::{Mirror, Redirect, Respond};
use crate::template::{Compiled, Scope, TemplateError};

/// An answer written in the document, or a redirect.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(HeaderName, Compiled)>,
    body: Option<Compiled>,
    /// It sends the client elsewhere.
    leads: bool,
}

/// A reply to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedReply {
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: String,
    /// It sends the client elsewhere.
    pub leads: bool,
}

impl RenderedReply {
    /// Whether it is to send the client elsewhere and does not say where: the text came to nothing, or to what cannot
    /// stand in a header.
    pub fn leads_nowhere(&self) -> bool {
        let is_place = |(name, value): &(HeaderName, HeaderValue)| {
            *name == http::header::LOCATION && !value.is_empty()
        };
        self.leads && !self.headers.iter().any(is_place)
    }

    /// A redirect. A target that cannot stand in a header is left out.
    pub fn to(status: u16, target: &str) -> RenderedReply {
        let value = HeaderValue::from_str(target).ok();
        let headers = value.map(|value| (http::header::LOCATION, value)).into_iter().collect();
        RenderedReply { status, headers, body: String::new(), leads: true }
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
    pub texts: Texts,
}

/// Further texts of a route that a request has a say in.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Directory of files, where it is not always the same.
    pub root: Option<Compiled>,
    /// Names of indexes, where they are not.
    pub index: Option<Vec<Compiled>>,
    /// What stands before the paths of directories.
    pub directory_origin: Option<Compiled>,
    /// File of users and realm, where requests have a say in either.
    pub users: Option<(Compiled, Compiled)>,
    /// Body the upstream is asked with.
    pub body: Option<Compiled>,
    /// Which server is asked, where the upstream leaves that to requests.
    pub server: Option<Compiled>,
    /// What copies are asked for.
    pub mirrors: Vec<Option<Compiled>>,
    /// What becomes of their headers.
    pub mirror_edits: Vec<Option<Edits>>,
    /// What becomes of the headers of whoever is asked who may pass.
    pub auth_edits: Option<Edits>,
    /// Variables that his answer gives.
    pub auth_set: Vec<(String, Compiled)>,
    pub cache_key: Option<Compiled>,
    pub cache_bypass: Vec<Compiled>,
    pub cache_no_store: Vec<Compiled>,
    /// What is looked for in bodies, and what takes its place.
    pub substitutions: Vec<(Compiled, Compiled)>,
}

impl Texts {
    fn new(config: &Config, route: &Route, scope: &Scope<'_>) -> Result<Texts, TemplateError> {
        let compiled = |text: &Template| Compiled::new(&text.0, scope);
        let all = |texts: &[Template]| texts.iter().map(compiled).collect::<Result<Vec<_>, _>>();
        let varies = |text: &&Template| text.0.contains('$');
        let files = route.files.as_ref();
        let root = files.map(|files| &files.root).filter(varies);
        let index = files.map(|files| &files.index);
        let index = index.filter(|names| names.iter().any(|name| varies(&name)));
        let users = match &route.auth {
            Some(Auth::Basic(basic)) if basic.reread || varies(&&basic.realm) => {
                Some((compiled(&basic.users_file)?, compiled(&basic.realm)?))
            }
            _ => None,
        };
        let auth = match &route.auth {
            Some(Auth::Subrequest(auth)) => Some(auth),
            _ => None,
        };
        let auth_edits = auth.and_then(|auth| auth.request_headers.as_ref());
        let of_answer = Scope { answer: true, ..scope.clone() };
        let auth_set = auth.iter().flat_map(|auth| &auth.set);
        let auth_set =
            auth_set.map(|(name, text)| Ok((name.clone(), Compiled::new(&text.0, &of_answer)?)));
        let body = route.ask.as_ref().and_then(|ask| ask.body.as_ref());
        let policy = route.cache_policy.as_ref().and_then(|name| config.cache_policies.get(name));
        let key = policy.and_then(|policy| policy.key.text.as_ref());
        let pairs = route.substitutions.iter().flat_map(|rules| &rules.pairs);
        let substitutions = pairs.map(|pair| Ok((compiled(&pair.find)?, compiled(&pair.with)?)));
        Ok(Texts {
            substitutions: substitutions.collect::<Result<_, TemplateError>>()?,
            root: root.map(compiled).transpose()?,
            index: index.map(|names| all(names)).transpose()?,
            directory_origin: files
                .and_then(|files| files.directory_origin.as_ref())
                .map(compiled)
                .transpose()?,
            users,
            body: body.map(compiled).transpose()?,
            server: route.server.as_ref().map(compiled).transpose()?,
            mirrors: route
                .mirror
                .iter()
                .flat_map(Mirror::paths)
                .map(|path| path.map(compiled).transpose())
                .collect::<Result<_, _>>()?,
            auth_edits: auth_edits.map(|edits| Edits::new(edits, scope)).transpose()?,
            auth_set: auth_set.collect::<Result<_, TemplateError>>()?,
            mirror_edits: route
                .mirror
                .iter()
                .flat_map(Mirror::edits)
                .map(|edits| edits.map(|edits| Edits::new(edits, scope)).transpose())
                .collect::<Result<_, _>>()?,
            cache_key: key.map(compiled).transpose()?,
            cache_bypass: all(policy.map_or(&[], |policy| &policy.bypass))?,
            cache_no_store: all(policy.map_or(&[], |policy| &policy.no_store))?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none()
            && self.index.is_none()
            && self.directory_origin.is_none()
            && self.users.is_none()
            && self.body.is_none()
            && self.server.is_none()
            && self.mirrors.iter().all(Option::is_none)
            && self.mirror_edits.iter().all(Option::is_none)
            && self.auth_edits.is_none()
            && self.auth_set.is_empty()
            && self.cache_key.is_none()
            && self.cache_bypass.is_empty()
            && self.cache_no_store.is_empty()
            && self.substitutions.is_empty()
    }

    /// Whether there is nothing but perhaps the key of a cache.
    pub fn is_a_key_at_most(&self) -> bool {
        Texts { cache_key: None, ..self.clone() }.is_empty()
    }

    pub fn render(&self, facts: &Facts<'_>) -> RenderedTexts {
        let text = |text: &Option<Compiled>| text.as_ref().map(|text| text.render(facts));
        let holds = |texts: &[Compiled]| {
            texts.iter().map(|text| text.render(facts)).any(|text| !text.is_empty() && text != "0")
        };
        let index = self.index.as_ref();
        RenderedTexts {
            root: text(&self.root),
            directory_origin: text(&self.directory_origin),
            index: index.map(|names| names.iter().map(|name| name.render(facts)).collect()),
            users: self
                .users
                .as_ref()
                .map(|(file, realm)| (file.render(facts), realm.render(facts))),
            body: text(&self.body),
            server: text(&self.server),
            mirrors: self.mirrors.iter().map(text).collect(),
            auth_edits: self.auth_edits.as_ref().map(|edits| edits.render(facts)),
            auth_set: self
                .auth_set
                .iter()
                .map(|(name, text)| (name.clone(), text.settle(facts, false)))
                .collect(),
            mirror_edits: self
                .mirror_edits
                .iter()
                .map(|edits| edits.as_ref().map(|edits| edits.render(facts)))
                .collect(),
            cache_key: text(&self.cache_key),
            cache_bypass: holds(&self.cache_bypass),
            cache_no_store: holds(&self.cache_no_store),
            substitutions: self
                .substitutions
                .iter()
                .map(|(find, with)| (find.render(facts), with.render(facts)))
                .collect(),
        }
    }
}

/// The same for one request.
#[derive(Clone, Debug, Default)]
pub struct RenderedTexts {
    pub root: Option<String>,
    pub directory_origin: Option<String>,
    pub index: Option<Vec<String>>,
    pub users: Option<(String, String)>,
    pub body: Option<String>,
    pub server: Option<String>,
    pub mirrors: Vec<Option<String>>,
    pub mirror_edits: Vec<Option<Rendered>>,
    pub auth_edits: Option<Rendered>,
    pub auth_set: Vec<(String, Late)>,
    pub cache_key: Option<String>,
    pub cache_bypass: bool,
    pub cache_no_store: bool,
    pub substitutions: Vec<(String, String)>,
}

impl RouteRules {
    pub fn new(leads: &Leads<'_>, route: &Route) -> Result<RouteRules, TemplateError> {
        let scope = leads.scope_of(route);
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
            texts: Texts::new(leads.config, route, &scope)?,
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
            && self.texts.is_empty()
    }
}

impl Reply {
    pub(crate) fn redirect(redirect: &Redirect, scope: &Scope<'_>) -> Result<Reply, TemplateError> {
        let to = Compiled::new(&redirect.to.0, scope)?;
        let headers = vec![(http::header::LOCATION, to)];
        Ok(Reply { status: redirect.status, headers, body: None, leads: true })
    }

    pub(crate) fn new(respond: &Respond, scope: &Scope<'_>) -> Result<Reply, TemplateError> {
        let body = respond.body.as_ref();
        Ok(Reply {
            status: respond.status,
            headers: fields(&respond.headers, scope)?,
            body: body.map(|body| Compiled::new(&body.0, scope)).transpose()?,
            leads: false,
        })
    }

    pub fn render(&self, facts: &Facts<'_>) -> RenderedReply {
        RenderedReply {
            status: self.status,
            headers: rendered(&self.headers, facts),
            body: self.body.as_ref().map(|body| body.render(facts)).unwrap_or_default(),
            leads: self.leads,
        }
    }
}
