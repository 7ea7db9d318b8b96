//! `auth_request`: another location of the server says who may pass.

use std::collections::HashMap;
use std::rc::Rc;

use proxy_config::route_access::{Auth, AuthSubrequest};

use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::variable::bare;
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

/// The proof in effect at a place. The error says why the place must stay closed.
pub fn asked<'a>(
    scope: &Scope<'a>,
    locations: &ByPath<'a>,
    work: &mut Work<'_, 'a>,
) -> Result<Asked, String> {
    let Some(line) = scope.one("auth_request").filter(|line| !line.has("off")) else {
        return Ok(Asked::default());
    };
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
    if let Some(closes) = guard::closes(inner)
        && closes.name != "proxy_pass_request_body"
    {
        return Err(format!("{} of location {uri} is not translated", closes.name));
    }
    let target = proxy_pass::target(pass)?;
    let path = match target.plain_uri() {
        Some("") => uri.to_owned(),
        Some(path) => path.to_owned(),
        None => return Err(format!("what location {uri} asks for is not the same each time")),
    };
    let timeouts = timeouts(inner, work.verdicts);
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
