//! `auth_request`: another location of the server says who may pass.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use proxy_config::pattern::Template;
use proxy_config::route_access::{Auth, AuthSubrequest, BasicAuth};

use crate::translate::proxy_pass::PROXY;
use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::value::time;
use crate::translate::variable::{Place, bare, is_legal, own_name};
use crate::translate::{guard, proxy_pass, request_header, rewrite};
use crate::tree::Directive;
use crate::verdict::Verdict;

/// The locations of a server by their paths.
pub type ByPath<'a> = HashMap<String, (&'a Directive, Rc<Scope<'a>>)>;

/// `auth_basic` with its file; neither in effect asks nobody.
fn password<'a>(
    scope: &Scope<'a>,
    place: &Place,
    work: &mut Work<'_, 'a>,
) -> Result<Option<Auth>, String> {
    let file = scope.one("auth_basic_user_file");
    let line = scope.one("auth_basic");
    let delay = scope.one("auth_delay");
    for line in [line, file, delay].into_iter().flatten() {
        work.verdicts.add(line, Verdict::exact());
    }
    let Some(line) = line.filter(|line| !line.has("off")) else { return Ok(None) };
    let Some(file) = file else { return Ok(None) };
    let realm = work.names.text(line.argument(0).unwrap_or_default(), place, work.verdicts)?;
    let users_file = work.names.text(file.argument(0).unwrap_or_default(), place, work.verdicts)?;
    let delay = delay.and_then(|line| line.argument(0)).and_then(time);
    let delay = delay.filter(|delay| !delay.is_zero());
    Ok(Some(Auth::Basic(BasicAuth { users_file, reread: true, realm, delay })))
}

/// The proof in effect at a place. The error says why the place must stay closed.
pub fn asked<'a>(
    scope: &Scope<'a>,
    locations: &ByPath<'a>,
    place: &Place,
    work: &mut Work<'_, 'a>,
) -> Result<Option<Auth>, String> {
    let by_password = password(scope, place, work)?;
    let Some(line) = scope.one("auth_request").filter(|line| !line.has("off")) else {
        return Ok(by_password);
    };
    if by_password.is_some() {
        return Err("a password and auth_request at one place".to_owned());
    }
    let uri = line.argument(0).unwrap_or_default();
    let Some((location, inner)) = locations.get(uri) else {
        return Err(format!("no location is {uri}, which auth_request asks"));
    };
    let Some(pass) = inner.own("proxy_pass").first().copied() else {
        return Err(format!("location {uri}, which auth_request asks, passes nothing on"));
    };
    if rewrite::has_steps(location) {
        return Err(format!("location {uri}, which auth_request asks, rewrites"));
    }
    if let Some(closes) = guard::closes(inner) {
        return Err(format!("{} of location {uri} is not translated", closes.name));
    }
    let target = proxy_pass::target(pass)?;
    let path = match target.plain_uri() {
        Some("") => uri.to_owned(),
        Some(path) => path.to_owned(),
        None => return Err(format!("what location {uri} asks for is not the same each time")),
    };
    let timeouts = timeouts(inner, proxy_pass::PROXY, work.verdicts);
    let upstream = work.pools.name_of(&target, inner, timeouts, work.verdicts, work.files)?;
    let mut set = BTreeMap::new();
    for line in scope.effective("auth_request_set") {
        let (name, value) = (line.argument(0).map(bare), line.argument(1).unwrap_or_default());
        let of_answer = Place { answer: true, ..place.clone() };
        let value = match value {
            // It is the service's own, and not that of whoever is asked after it.
            "$upstream_status" => Ok(Template("${answer_status}".to_owned())),
            value => work.names.text(value, &of_answer, work.verdicts),
        };
        let verdict = match (name.map(own_name).filter(|name| is_legal(name)), value) {
            (Some(name), Ok(value)) => {
                set.insert(name, value);
                Verdict::exact()
            }
            (None, _) => Verdict::unsupported("it is no name of a variable in Forebay"),
            (_, Err(why)) => Verdict::unsupported(why),
        };
        work.verdicts.add(line, verdict);
    }
    let asked = Place { proxy: Some(target.names()), proxy_tls: target.tls, ..place.clone() };
    let edits = request_header::edits((PROXY, inner), &asked, work.names, work.verdicts);
    let bodies = inner.one("proxy_pass_request_body");
    bodies.iter().for_each(|line| work.verdicts.add(line, Verdict::exact()));
    work.verdicts.add(
        line,
        match inner.one("proxy_cache").filter(|line| !line.has("off")) {
            Some(_) => {
                Verdict::approximate("it is asked for each request: what it answers is not cached")
            }
            None => Verdict::approximate(
                "it is not told of conditions and ranges: its answer is about who asks",
            ),
        },
    );
    let auth = Auth::Subrequest(AuthSubrequest {
        upstream,
        path,
        copy_headers: Vec::new(),
        request_headers: Some(edits),
        set,
    });
    Ok(Some(auth))
}
