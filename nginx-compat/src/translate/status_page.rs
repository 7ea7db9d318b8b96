//! `stub_status`: how many connections and requests there are, in nginx's words.

use std::collections::BTreeMap;

use proxy_config::Route;
use proxy_config::pattern::Template;
use proxy_config::route_action::Respond;
use proxy_config::steps::{Action, Condition, ConditionTest, Step};

use crate::translate::answer;
use crate::translate::regex::convert;
use crate::translate::site::Work;
use crate::translate::value::unique;
use crate::tree::Directive;
use crate::verdict::Verdict;

/// Its lines end in a space, and clients count on that.
const PAGE: &str = "Active connections: ${connections_open} \n\
                    server accepts handled requests\n \
                    ${connections_accepted} ${connections_handled} ${requests_total} \n\
                    Reading: 0 Writing: ${requests_under_way} Waiting: ${connections_waiting} \n";

/// The route that answers with them.
pub fn route(line: &Directive, work: &mut Work<'_, '_>) -> Result<Route, String> {
    let text = "the figures are Forebay's own; a request counts from its whole head on, so none is being read";
    work.verdicts.add(line, Verdict::approximate(text));
    let kind = ("content-type".to_owned(), Template("text/plain".to_owned()));
    let page = Respond {
        status: 200,
        body: Some(Template(PAGE.to_owned())),
        headers: BTreeMap::from([kind]),
    };
    // Who asks for it otherwise is refused by a route of its own, which is guarded alike.
    let name = unique(&format!("refused-of-line-{}", line.start.line), |n| work.taken.contains(n));
    work.taken.insert(name.clone());
    let respond = Some(answer::answered(405));
    let refusal = Route { upstream: None, respond, internal: true, ..Route::to(&name, "") };
    let origin = format!("{}: {}", work.files.line(line.start), line.heading());
    work.by_name.push((refusal, origin, line.id));
    let is = Some(ConditionTest::Regex(convert("^(GET|HEAD)$", false)?));
    let others = Condition { of: Template("${method}".to_owned()), is, not: true };
    let step = Step { when: vec![others], then: vec![Action::Route(name), Action::Stop] };
    Ok(Route { upstream: None, respond: Some(page), steps: vec![step], ..Route::to("", "") })
}
