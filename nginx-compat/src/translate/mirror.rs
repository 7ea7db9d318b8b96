//! `mirror`: a copy of each request for another location, which passes it on.

use proxy_config::pattern::Template;
use proxy_config::route_action::Mirror;
use proxy_config::units::{ByteSize, Percent};

use crate::translate::answer::Here;
use crate::translate::proxy_pass::{PROXY, target};
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::{guard, rewrite};
use crate::verdict::Verdict;

/// Copies under way at once, and the largest body of one.
const IN_FLIGHT_MAX: u32 = 64;
const BODY_MAX: ByteSize = ByteSize::kib(64);

/// What keeps each request's query.
const WITH_QUERY: &str = "${question_mark}${query}";

/// The copy that requests of a place have, if any.
pub fn copy<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Option<Mirror> {
    let lines = here.scope.effective("mirror");
    if let Some(off) = lines.iter().find(|line| line.has("off")) {
        work.verdicts.add(off, Verdict::exact());
        return None;
    }
    let (line, others) = lines.split_first()?;
    for other in others {
        let why = "one copy is made of a request, that of the first `mirror`";
        work.verdicts.add(other, Verdict::unsupported(why));
    }
    let bodies = here.scope.one("mirror_request_body");
    if let Some(bodies) = bodies {
        let verdict = match bodies.has("off") {
            true => Verdict::unsupported("copies have the bodies of their requests"),
            false => Verdict::exact(),
        };
        work.verdicts.add(bodies, verdict);
    }
    let uri = line.argument(0).unwrap_or_default();
    match made(uri, here, work) {
        Ok(mirror) => {
            let differs = "copies have the headers that the place's own upstream is sent, Host included; at most 64 are \
                           under way, with bodies of 64 KiB at most";
            work.verdicts.add(line, Verdict::approximate(differs));
            Some(mirror)
        }
        Err(why) => {
            work.verdicts.add(line, Verdict::unsupported(why));
            None
        }
    }
}

fn made<'a>(uri: &str, here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Result<Mirror, String> {
    // Of prefixes the longest counts.
    let found = here.locations.iter().filter(|(path, _)| uri.starts_with(path.as_str()));
    let found = found.max_by_key(|(path, _)| path.len());
    let (path, (location, inner)) = found.ok_or_else(|| format!("no location takes {uri}"))?;
    let Some(pass) = inner.own("proxy_pass").first().copied() else {
        return Err(format!("location {path}, which the copy goes to, passes nothing on"));
    };
    if rewrite::has_steps(location) || guard::closes(inner).is_some() {
        return Err(format!("location {path}, which the copy goes to, does more than pass it on"));
    }
    let target = target(pass)?;
    let asked = match target.uri {
        None => Template(format!("{}{WITH_QUERY}", plain(uri))),
        Some(to) if to.contains('$') => work.names.text(to, here.place, work.verdicts)?,
        Some(to) => Template(format!("{}{}{WITH_QUERY}", plain(to), plain(&uri[path.len()..]))),
    };
    let timeouts = timeouts(inner, PROXY, work.verdicts);
    let upstream = work.pools.name_of(&target, inner, timeouts, work.verdicts, work.files)?;
    Ok(Mirror {
        upstream,
        path: Some(asked).filter(|asked| asked.0 != "${request_uri}"),
        share: Percent::whole(100),
        compare: false,
        in_flight_max: IN_FLIGHT_MAX,
        body_max: BODY_MAX,
    })
}

fn plain(text: &str) -> String {
    text.replace('$', "$$")
}
