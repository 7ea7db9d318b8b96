//! `mirror`: copies of each request for other locations, which pass them on.

use proxy_config::pattern::Template;
use proxy_config::route_action::{HeaderEdits, Mirror, OtherMirror};
use proxy_config::units::{ByteSize, Percent};

use crate::translate::answer::Here;
use crate::translate::proxy_pass::{PROXY, target};
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::variable::Place;
use crate::translate::{guard, request_header, rewrite};
use crate::verdict::Verdict;

/// Copies under way at once, and the largest body of one.
const IN_FLIGHT_MAX: u32 = 64;
const BODY_MAX: ByteSize = ByteSize::kib(64);

/// What keeps each request's query.
const WITH_QUERY: &str = "${question_mark}${query}";

/// The copies that requests of a place have, if any.
pub fn copy<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Option<Mirror> {
    let lines = here.scope.effective("mirror");
    if let Some(off) = lines.iter().find(|line| line.has("off")) {
        work.verdicts.add(off, Verdict::exact());
        return None;
    }
    let mut copies = Vec::new();
    for line in lines {
        let uri = line.argument(0).unwrap_or_default();
        match made(uri, here, work) {
            Ok(copy) => {
                let differs = "at most 64 copies are under way, with bodies of 64 KiB at most";
                work.verdicts.add(line, Verdict::approximate(differs));
                copies.push(copy);
            }
            Err(why) => work.verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    if let Some(line) = here.scope.one("mirror_request_body") {
        work.verdicts.add(line, Verdict::exact());
        copies.iter_mut().for_each(|copy| copy.body &= !line.has("off"));
    }
    // Where the first has no body, none has.
    copies.sort_by_key(|copy| !copy.body);
    let mut copies = copies.into_iter();
    let OtherMirror { upstream, path, request_headers, body } = copies.next()?;
    Some(Mirror {
        upstream,
        path,
        request_headers,
        share: Percent::whole(100),
        compare: false,
        in_flight_max: IN_FLIGHT_MAX,
        body,
        body_max: BODY_MAX,
        others: copies.collect(),
    })
}

/// Where one copy goes, with which headers, and whether with its body.
fn made<'a>(
    uri: &str,
    here: &Here<'_, 'a>,
    work: &mut Work<'_, 'a>,
) -> Result<OtherMirror, String> {
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
    let bodies = inner.one("proxy_pass_request_body");
    bodies.iter().for_each(|line| work.verdicts.add(line, Verdict::exact()));
    let timeouts = timeouts(inner, PROXY, work.verdicts);
    let upstream = work.pools.name_of(&target, inner, timeouts, work.verdicts, work.files)?;
    let path = Some(asked).filter(|asked| asked.0 != "${request_uri}");
    let place = Place { proxy: Some(target.names()), proxy_tls: target.tls, ..here.place.clone() };
    let edits = request_header::edits((PROXY, inner), &place, work.names, work.verdicts);
    let request_headers = Some(edits).filter(|edits| *edits != HeaderEdits::default());
    let body = bodies.is_none_or(|line| !line.has("off"));
    Ok(OtherMirror { upstream, path, request_headers, body })
}

fn plain(text: &str) -> String {
    text.replace('$', "$$")
}
