//! `auth_request`: another location of the server says who may pass.

use std::collections::HashMap;
use std::rc::Rc;

use proxy_config::route_access::{Auth, AuthSubrequest, BasicAuth};

use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::value::time;
use crate::translate::variable::{Place, bare};
use crate::translate::{guard, proxy_pass, rewrite};
use crate::tree::Directive;
use crate::verdict::Verdict;

/// The locations of a server by their paths.
pub type ByPath<'a> = HashMap<String, (&'a Directive, Rc<Scope<'a>>)>;

/// What is asked, and the variables that its answer gives: each with the header it comes from.
#[derive(Debug, Default)]
pub struct Asked {
    pub auth: Option<Auth>,
    pub variables: Vec<(String, String)>,
}

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
) -> Result<Asked, String> {
    let by_password = password(scope, place, work)?;
    let Some(line) = scope.one("auth_request").filter(|line| !line.has("off")) else {
        return Ok(Asked { auth: by_password, ..Asked::default() });
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
    let mut variables = Vec::new();
    let mut copy_headers = Vec::new();
    for line in scope.effective("auth_request_set") {
        let (name, value) = (line.argument(0), line.argument(1).unwrap_or_default());
        let header = bare(value).strip_prefix("upstream_http_").filter(|rest| !rest.is_empty());
        let (Some(name), Some(header)) = (name, header) else {
            let why = "only headers of the answer are taken over";
            work.verdicts.add(line, Verdict::unsupported(why));
            continue;
        };
        let header = header.to_ascii_lowercase().replace('_', "-");
        work.verdicts.add(line, Verdict::exact());
        variables.push((bare(name).to_owned(), header.clone()));
        if !copy_headers.contains(&header) {
            copy_headers.push(header);
        }
    }
    work.verdicts.add(
        line,
        Verdict::approximate(
            "it is asked with the headers of the request, X-Original-URI and X-Original-Method, \
             whatever its location sets",
        ),
    );
    let auth = Some(Auth::Subrequest(AuthSubrequest { upstream, path, copy_headers }));
    Ok(Asked { auth, variables })
}
