//! Where a request goes on inside: `try_files`, `error_page`, named locations, `auth_request`.

use std::collections::HashMap;

use proxy_config::Route;
use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::route_action::{ErrorPage, Redirect, RegexRewrite, Rewrite, TryStep};
use proxy_config::status_match::StatusMatch;
use proxy_config::steps::{
    Action, AfterRewrite, Condition, ConditionTest, PathKind, RewriteStep, Step,
};

use crate::translate::answer::answered;
use crate::translate::regex::convert;
use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place};
use crate::tree::{Directive, walk};
use crate::verdict::{Verdict, Verdicts};

/// The routes of named locations of a server, by `@name`.
pub type Named = HashMap<String, String>;

/// What `try_files` comes to in a place that serves files.
pub fn tries(
    line: &Directive,
    named: &Named,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Vec<TryStep>, String> {
    let words: Vec<&str> = line.texts().collect();
    let Some((last, files)) = words.split_last() else {
        return Err("nginx refuses it: it names nothing".to_owned());
    };
    let mut steps = Vec::new();
    for file in files {
        let file = names.text(file, place, verdicts)?;
        if !file.0.starts_with(['/', '$']) {
            return Err(format!("{:?} is no path below the root", file.0));
        }
        steps.push(TryStep::File(file));
    }
    steps.push(match (last.strip_prefix('='), last.starts_with('@')) {
        (Some(status), _) => match status.parse() {
            Ok(status @ 400..600) => TryStep::Status(status),
            _ => return Err(format!("{last} is no error to end with")),
        },
        (None, true) => TryStep::Route(route_of(last, named)?),
        (None, false) => TryStep::Path(names.text(last, place, verdicts)?),
    });
    verdicts.add(line, Verdict::exact());
    Ok(steps)
}

/// What `try_files FILE FALLBACK` comes to where something else answers for files that are there: the file is the path
/// from then on.
pub fn must_exist(
    line: &Directive,
    named: &Named,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Vec<Step>, String> {
    let words: Vec<&str> = line.texts().collect();
    let [file, last] = words.as_slice() else {
        return Err("several files before something that is no file server".to_owned());
    };
    let root = place.root.clone().ok_or("the root is not plain text")?;
    let file = names.text(file, place, verdicts)?;
    let of = Template(format!("{}{}", root.trim_end_matches('/').replace('$', "$$"), file.0));
    let is = Some(ConditionTest::Path(PathKind::File));
    let then = match (last.strip_prefix('='), last.starts_with('@')) {
        (Some(status), _) => {
            let status = status.parse().map_err(|_| format!("{last} is no status"))?;
            vec![Action::Respond(answered(status))]
        }
        (None, true) => vec![Action::Route(route_of(last, named)?), Action::Stop],
        (None, false) => {
            // The query goes on only where it is written.
            let to = Template(format!("{}?", names.text(last, place, verdicts)?.0));
            let (find, after) = (convert("^.*$", false)?, AfterRewrite::Again);
            vec![Action::Rewrite(RewriteStep { find, to, redirect: None, after })]
        }
    };
    verdicts.add(line, Verdict::exact());
    let mut steps = vec![Step { when: vec![Condition { of, is, not: true }], then }];
    if !["${path}", "${path_text}"].contains(&file.0.as_str()) {
        let find = convert("^.*$", false)?;
        let rewrite = RewriteStep { find, to: file, redirect: None, after: AfterRewrite::Stay };
        steps.push(Step { when: Vec::new(), then: vec![Action::Rewrite(rewrite)] });
    }
    Ok(steps)
}

fn route_of(name: &str, named: &Named) -> Result<String, String> {
    named.get(name).cloned().ok_or_else(|| format!("no location is named {name}"))
}

/// What is made of the errors of a place, and a route for each page that is elsewhere.
pub struct Pages {
    pub pages: Vec<ErrorPage>,
    pub redirects: Vec<Route>,
}

/// The pages in effect.
pub fn pages(
    scope: &Scope<'_>,
    named: &Named,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
    new_name: &mut dyn FnMut(&str) -> String,
) -> Pages {
    let mut found = Pages { pages: Vec::new(), redirects: Vec::new() };
    let intercept =
        scope.one("proxy_intercept_errors").or_else(|| scope.one("fastcgi_intercept_errors"));
    let has_pages = !scope.effective("error_page").is_empty();
    if let Some(line) = intercept.filter(|_| !has_pages) {
        let why = "without an error_page it does nothing in nginx either";
        verdicts.add(line, Verdict::ignored(why));
    }
    let intercept = intercept.filter(|_| has_pages);
    let upstream_errors = intercept.is_some_and(|line| line.has("on"));
    if let Some(line) = intercept {
        verdicts.add(line, Verdict::exact());
    }
    for line in scope.effective("error_page") {
        match page((line, scope), upstream_errors, named, place, names, verdicts, new_name) {
            Ok((page, redirect, differences)) => {
                found.pages.push(page);
                found.redirects.extend(redirect);
                verdicts.add(line, Verdict::with_differences(&differences));
            }
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    found
}

type One = (ErrorPage, Option<Route>, Vec<String>);

fn page(
    (line, scope): (&Directive, &Scope<'_>),
    upstream_errors: bool,
    named: &Named,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
    new_name: &mut dyn FnMut(&str) -> String,
) -> Result<One, String> {
    let words: Vec<&str> = line.texts().collect();
    let Some((to, words)) = words.split_last() else {
        return Err("nginx refuses it: it names nothing".to_owned());
    };
    let (mut statuses, mut set) = (Vec::new(), None);
    let mut differences = Vec::new();
    for word in words {
        match word.strip_prefix('=') {
            Some(status) => set = Some(status),
            None => match word.parse::<u16>() {
                Ok(status @ 300..600) => statuses.push(StatusMatch::One(status)),
                Ok(status) => differences.push(format!("{status} is no error and is passed on")),
                Err(_) => return Err(format!("nginx refuses it: invalid value \"{word}\"")),
            },
        }
    }
    if statuses.is_empty() {
        return Err("it names no error".to_owned());
    }
    let status = set.filter(|set| !set.is_empty()).map(str::parse::<u16>);
    let status = status.transpose().map_err(|_| "nginx refuses it: invalid response".to_owned())?;
    let mut page = ErrorPage {
        statuses,
        path: None,
        route: None,
        status: status.filter(|status| (200..600).contains(status)),
        own_status: set == Some(""),
        own_failures: true,
        upstream_errors,
    };
    let mut redirect = None;
    if to.starts_with('@') {
        page.route = Some(route_of(to, named)?);
    } else if to.starts_with("http://") || to.starts_with("https://") {
        let status = page.status.take().filter(|status| [301, 302, 303, 307, 308].contains(status));
        let to = names.text(to, place, verdicts)?;
        let name = new_name(&format!("error-page-of-line-{}", line.start.line));
        let answer = Redirect { to, status: status.unwrap_or(302) };
        let route = Route { upstream: None, redirect: Some(answer), ..Route::to(name.clone(), "") };
        redirect = Some(Route { internal: true, ..route });
        (page.route, page.own_status) = (Some(name), true);
    } else {
        page.path = Some(names.text(to, place, verdicts)?);
    }
    match says_text(scope, to) {
        Says::Only => page.own_failures = false,
        Says::Also => differences.push(
            "where its page is a `return` with text, that says its own status; nginx keeps the error's"
                .to_owned(),
        ),
        Says::Nothing => {}
    }
    if page.status.is_some_and(|status| matches!(status, 204 | 205 | 304)) {
        return Err("a page without a body".to_owned());
    }
    Ok((page, redirect, differences))
}

/// Whether a location answers by `return` with text.
#[derive(PartialEq, Eq)]
enum Says {
    /// It does nothing else.
    Only,
    Also,
    Nothing,
}

/// The location that a page names, by its name or as one path: errors that it says by a text are not its own in nginx.
fn says_text(scope: &Scope<'_>, to: &str) -> Says {
    let mut server = scope;
    while server.block().name != "server" {
        let Some(outer) = server.outer() else { return Says::Nothing };
        server = outer;
    }
    let is_it = |words: &[&str]| match words {
        ["=", path] | [path] => *path == to,
        _ => false,
    };
    let mut locations = server.own("location").iter();
    let found = locations.find(|line| is_it(&line.texts().collect::<Vec<_>>()));
    let Some(location) = found else { return Says::Nothing };
    let is_text = |line: &Directive| {
        let status = line.argument(0).and_then(|status| status.parse::<u16>().ok());
        let is_error = status.is_some_and(|status| status >= 300 && status != 444);
        let leads = status.is_some_and(|status| [301, 302, 303, 307, 308].contains(&status));
        line.name == "return" && is_error && !leads && line.argument(1).is_some()
    };
    let (mut texts, mut others) = (false, false);
    walk(location.children(), &mut |line| {
        texts |= is_text(line);
        others |= ["if", "rewrite", "break"].contains(&line.name.as_str());
    });
    match (texts, others) {
        (true, false) => Says::Only,
        (true, true) => Says::Also,
        (false, _) => Says::Nothing,
    }
}

/// A rewrite of a prefix, for a route that is reached by its name: it matches no prefix.
pub fn by_expression(rewrite: Option<Rewrite>, path: Option<&PathMatch>) -> Option<Rewrite> {
    let (Some(Rewrite::PrefixTo(to)), Some(PathMatch::Prefix(prefix))) = (&rewrite, path) else {
        return rewrite;
    };
    let escaped: String = prefix.chars().fold(String::from("^"), |mut text, c| {
        if !c.is_alphanumeric() && !"/-_".contains(c) {
            text.push('\\');
        }
        text.push(c);
        text
    });
    let find = convert(&escaped, false).ok()?;
    let replace = Template(to.replace('$', "$$"));
    Some(Rewrite::Regex(RegexRewrite { find, replace }))
}
