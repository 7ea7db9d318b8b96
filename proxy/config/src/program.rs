//! The steps of a route, made ready, and what they make of one request. Pure but for asking what
//! a path leads to, which the caller does.

use std::borrow::Cow;

use crate::captures::Captures;
use crate::facts::Facts;
use crate::link_check::LinkCheck;
use crate::matching::{decoded_text, encode_path};
use crate::pattern::Template;
use crate::route_rules::{RenderedReply, Reply};
use crate::steps::{Action, AfterRewrite, Condition, ConditionTest, PathKind, Step};
use crate::template::{Compiled, Scope, TemplateError};
use crate::variables::Variables;

/// A request on its way through steps.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub variables: Variables,
    pub captures: Captures,
    /// Path, escaped as it is sent.
    pub path: String,
    pub query: String,
    /// Whether the path is another than the request came with.
    pub rewritten: bool,
    /// Whether a rewrite with `after: stay` has changed it: no prefix is taken off any more.
    pub stayed: bool,
    /// Whether the steps of the current route have changed it.
    changed: bool,
    /// Name of the route it is to go on as.
    pub route: Option<String>,
    /// Whether steps have led it to the route it is on by name.
    pub led_by_name: bool,
}

/// How the steps of a route ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request stays on the route.
    Stay,
    /// A route is to be looked for with the path as it is now.
    Again,
    Reply(RenderedReply),
    /// The connection is closed without an answer.
    Close,
}

/// The steps of one route.
#[derive(Clone, Debug, Default)]
pub struct Program {
    steps: Vec<(Vec<Test>, Vec<Order>)>,
}

#[derive(Clone, Debug)]
struct Test {
    of: Compiled,
    is: TestKind,
    not: bool,
}

#[derive(Clone, Debug)]
enum TestKind {
    Truth,
    Equals(Compiled),
    Regex(regex::Regex),
    Path(PathKind),
}

#[derive(Clone, Debug)]
enum Order {
    Set(String, Compiled),
    CheckLink(LinkCheck),
    Rewrite(Rewriter),
    Reply(Reply),
    Route(String),
    Stop,
    Close,
}

#[derive(Clone, Debug)]
struct Rewriter {
    find: regex::Regex,
    to: Compiled,
    has_query: bool,
    drops_query: bool,
    redirect: Option<u16>,
    after: AfterRewrite,
}

/// What a step made of the request, when that ends the steps.
enum Flow {
    Next,
    End(Outcome),
}

impl Program {
    pub fn new(steps: &[Step], scope: &Scope<'_>) -> Result<Program, TemplateError> {
        let compiled = steps.iter().map(|step| {
            let tests = step.when.iter().map(|condition| Test::new(condition, scope));
            let orders = step.then.iter().map(|action| Order::new(action, scope));
            Ok((tests.collect::<Result<_, _>>()?, orders.collect::<Result<_, _>>()?))
        });
        Ok(Program { steps: compiled.collect::<Result<_, TemplateError>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Takes a request through the steps. `leads_to` says what a path on this machine leads to.
    pub fn run(
        &self,
        facts: &Facts<'_>,
        walk: &mut Walk,
        leads_to: &dyn Fn(&str) -> Option<PathKind>,
    ) -> Outcome {
        walk.changed = false;
        for (tests, orders) in &self.steps {
            let mut holds = true;
            for test in tests {
                holds = holds && test.holds(facts, walk, leads_to);
            }
            if !holds {
                continue;
            }
            for order in orders {
                if let Flow::End(outcome) = order.follow(facts, walk) {
                    return outcome;
                }
            }
        }
        if walk.changed { Outcome::Again } else { Outcome::Stay }
    }
}

impl Walk {
    pub fn of(path: &str, query: &str) -> Walk {
        let mut walk = Walk::default();
        walk.begin(path, query);
        walk
    }

    /// Sets out with this target; what was set and captured before stays.
    pub fn begin(&mut self, path: &str, query: &str) {
        (self.path, self.query) = (path.to_owned(), query.to_owned());
        (self.rewritten, self.stayed, self.led_by_name) = (false, false, false);
    }

    /// The facts of the request as it is now.
    pub(crate) fn now<'a>(&'a self, facts: &Facts<'a>) -> Facts<'a> {
        let mut now = *facts;
        now.target.path = &self.path;
        now.target.query = &self.query;
        now.captures = &self.captures;
        now.set = &self.variables;
        now
    }
}

impl Test {
    fn new(condition: &Condition, scope: &Scope<'_>) -> Result<Test, TemplateError> {
        let is = match &condition.is {
            None => TestKind::Truth,
            Some(ConditionTest::Equals(text)) => TestKind::Equals(Compiled::new(&text.0, scope)?),
            Some(ConditionTest::Regex(regex)) => {
                TestKind::Regex(regex.compile().expect("checked when it was read"))
            }
            Some(ConditionTest::Path(kind)) => TestKind::Path(*kind),
        };
        Ok(Test { of: Compiled::new(&condition.of.0, scope)?, is, not: condition.not })
    }

    fn holds(
        &self,
        facts: &Facts<'_>,
        walk: &mut Walk,
        leads_to: &dyn Fn(&str) -> Option<PathKind>,
    ) -> bool {
        let text = self.of.render(&walk.now(facts));
        let holds = match &self.is {
            TestKind::Truth => !text.is_empty() && text != "0",
            TestKind::Equals(other) => text == other.render(&walk.now(facts)),
            TestKind::Regex(regex) => match regex.captures(&text) {
                None => false,
                Some(found) => {
                    walk.captures.renew(regex, &found, std::borrow::ToOwned::to_owned);
                    true
                }
            },
            TestKind::Path(kind) => is_kind(leads_to(&decoded_text(&text)), *kind),
        };
        holds != self.not
    }
}

fn is_kind(found: Option<PathKind>, wanted: PathKind) -> bool {
    match (found, wanted) {
        (None, _) => false,
        (Some(_), PathKind::Anything) => true,
        (Some(PathKind::Executable), PathKind::File) => true,
        (Some(found), wanted) => found == wanted,
    }
}

impl Order {
    fn new(action: &Action, scope: &Scope<'_>) -> Result<Order, TemplateError> {
        let compiled = |text: &Template| Compiled::new(&text.0, scope);
        Ok(match action {
            Action::Set(set) => Order::Set(set.name.clone(), compiled(&set.to)?),
            Action::CheckLink(check) => Order::CheckLink(LinkCheck::new(check, scope)?),
            Action::Rewrite(rewrite) => Order::Rewrite(Rewriter {
                find: rewrite.find.compile().expect("checked when it was read"),
                to: compiled(&rewrite.to)?,
                has_query: rewrite.to.0.contains('?'),
                drops_query: rewrite.to.0.ends_with('?'),
                redirect: rewrite.redirect,
                after: rewrite.after,
            }),
            Action::Respond(respond) => Order::Reply(Reply::new(respond, scope)?),
            Action::Redirect(redirect) => Order::Reply(Reply::redirect(redirect, scope)?),
            Action::Route(name) => Order::Route(name.clone()),
            Action::Stop => Order::Stop,
            Action::Close => Order::Close,
        })
    }

    fn follow(&self, facts: &Facts<'_>, walk: &mut Walk) -> Flow {
        match self {
            Order::Set(name, to) => {
                let value = to.render(&walk.now(facts));
                walk.variables.set(name, value);
            }
            Order::CheckLink(check) => check.follow(facts, walk),
            Order::Rewrite(rewriter) => return rewriter.follow(facts, walk),
            Order::Reply(reply) => {
                return Flow::End(Outcome::Reply(reply.render(&walk.now(facts))));
            }
            Order::Route(name) => walk.route = Some(name.clone()),
            Order::Stop => {
                walk.stayed |= walk.changed;
                return Flow::End(Outcome::Stay);
            }
            Order::Close => return Flow::End(Outcome::Close),
        }
        Flow::Next
    }
}

impl Rewriter {
    fn follow(&self, facts: &Facts<'_>, walk: &mut Walk) -> Flow {
        let path = decoded_text(&walk.path).into_owned();
        let Some(found) = self.find.captures(&path) else { return Flow::Next };
        walk.captures.renew(&self.find, &found, |part| encode_path(part.as_bytes()));
        let to = self.to.render(&walk.now(facts));
        let to = if self.drops_query { to.strip_suffix('?').unwrap_or(&to) } else { &to };
        let own = if self.drops_query { "" } else { walk.query.as_str() };
        if let Some(status) = self.redirect {
            let to = with_query(to, own);
            return Flow::End(Outcome::Reply(RenderedReply::to(status, &to)));
        }
        let (new_path, query) = match to.split_once('?') {
            Some((new_path, query)) => (new_path, joined(query, own)),
            // What a variable brings along is data, not a query.
            None => (to, Cow::Borrowed(own)),
        };
        let query = if self.has_query { query.into_owned() } else { own.to_owned() };
        walk.path = new_path.to_owned();
        walk.query = query;
        (walk.rewritten, walk.changed) = (true, true);
        walk.stayed |= self.after == AfterRewrite::Stay;
        match self.after {
            AfterRewrite::GoOn => Flow::Next,
            AfterRewrite::Again => Flow::End(Outcome::Again),
            AfterRewrite::Stay => Flow::End(Outcome::Stay),
        }
    }
}

fn joined<'a>(first: &'a str, second: &'a str) -> Cow<'a, str> {
    match (first, second) {
        ("", only) | (only, "") => Cow::Borrowed(only),
        (first, second) => Cow::Owned(format!("{first}&{second}")),
    }
}

fn with_query(to: &str, query: &str) -> String {
    match (query, to.contains('?')) {
        ("", _) => to.to_owned(),
        (query, true) => format!("{to}&{query}"),
        (query, false) => format!("{to}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Target;

    /// Runs steps on `GET /a/b%20c?q=1` of `www.example`; says path, query and how it ended.
    fn ran(steps: &str) -> String {
        let tree = crate::Tree::parse(crate::Source::new("steps.yaml", steps)).expect("YAML");
        let steps: Vec<Step> = crate::read(&tree, tree.root()).expect("steps");
        let mut scope = Scope { numbers: 3, ..Scope::default() };
        let names = ["x", "name"].map(str::to_owned);
        scope.captures.extend(names.iter().cloned());
        let names: Vec<_> = steps.iter().flat_map(|step| &step.then).collect();
        let program = match Program::new(&steps, &scope) {
            Ok(program) => program,
            Err(error) => panic!("{error} {names:?}"),
        };
        let target = Target {
            listener: "public",
            host: "www.example",
            path: "/a/b%20c",
            query: "q=1",
            method: "GET",
            headers: None,
        };
        let (captures, maps) = (Captures::default(), crate::facts::Maps::default());
        let facts = Facts::of(target, &captures, &maps);
        let mut walk =
            Walk { path: "/a/b%20c".to_owned(), query: "q=1".to_owned(), ..Walk::default() };
        let leads_to = |path: &str| (path == "/srv/a/b c").then_some(PathKind::File);
        let outcome = match program.run(&facts, &mut walk, &leads_to) {
            Outcome::Reply(reply) => {
                let to = reply.headers.first().map(|(_, to)| to.to_str().expect("ASCII"));
                format!("{} {}{}", reply.status, to.unwrap_or_default(), reply.body)
            }
            outcome => format!("{outcome:?}"),
        };
        format!("{}?{} {outcome}", walk.path, walk.query)
    }

    #[test]
    fn steps_do_what_they_say() {
        let cases = [
            ("- { then: [ stop ] }", "/a/b%20c?q=1 Stay"),
            ("- { then: [ close ] }", "/a/b%20c?q=1 Close"),
            ("- { then: [ { rewrite: { find: '^/a/(.*)$', to: /z/$1 } } ] }", "/z/b%20c?q=1 Again"),
            (
                "- { then: [ { rewrite: { find: '^/a/(.*)$', to: '/z?n=$1', after: stay } }, close ] }",
                "/z?n=b%20c&q=1 Stay",
            ),
            (
                "- { then: [ { rewrite: { find: b, to: '/z?n=1?', after: again } }, close ] }",
                "/z?n=1 Again",
            ),
            ("- { then: [ { rewrite: { find: 'b c', to: '/z?' } } ] }", "/z? Again"),
            ("- { then: [ { rewrite: { find: no, to: /z } }, stop ] }", "/a/b%20c?q=1 Stay"),
            (
                "- { then: [ { rewrite: { find: '^/a', to: 'https://b.example/', redirect: 301 } } ] }",
                "/a/b%20c?q=1 301 https://b.example/?q=1",
            ),
            (
                "- { when: [ { of: $method, is: { equals: GET } } ], then: [ { respond: { status: 200, body: yes } } ] }",
                "/a/b%20c?q=1 200 yes",
            ),
            (
                "- { when: [ { of: $host, is: { regex: '^(?<name>[a-z]+)' } } ], then: [ { respond: { status: 200, body: $name } } ] }",
                "/a/b%20c?q=1 200 www",
            ),
            (
                "- { when: [ { of: $method, not: true } ], then: [ close ] }\n- { then: [ stop ] }",
                "/a/b%20c?q=1 Stay",
            ),
            (
                "- { when: [ { of: /srv$path, is: { path: file } } ], then: [ close ] }",
                "/a/b%20c?q=1 Close",
            ),
            (
                "- { when: [ { of: /srv$path, is: { path: directory } } ], then: [ close ] }",
                "/a/b%20c?q=1 Stay",
            ),
        ];
        for (steps, expected) in cases {
            assert_eq!(ran(steps), expected, "{steps}");
        }
    }
}
