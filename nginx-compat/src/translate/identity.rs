//! `ssl_verify_client` of a server: what its routes demand of the certificate that its listener asked for.

use std::collections::BTreeMap;

use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Template, ValueMatch};
use proxy_config::steps::{Action, Condition, ConditionTest, Step};

use crate::translate::answer::answered;
use crate::translate::lookup;
use crate::translate::scope::Scope;

/// Statuses that nginx has for them, to be caught by `error_page`; without one, clients see 400.
const WRONG: u16 = 495;
const MISSING: u16 = 496;
const BAD_REQUEST: u16 = 400;
const MISDIRECTED: u16 = 421;

/// `$ssl_client_verify` where no certificate is taken for verified.
pub fn unverified(maps: &mut BTreeMap<String, Map>) -> String {
    let to = |value: &str| Template(value.to_owned());
    let shown = MapCase { when: ValueMatch::Exact("NONE".to_owned()), value: to("NONE") };
    let map = lookup::plain(to("${client_verified}"), vec![shown]);
    let default = to("FAILED:unable to get issuer certificate");
    maps.insert("client_unverified".to_owned(), Map { default, ..map });
    "${client_unverified}".to_owned()
}

/// What comes before all else in a server that verifies its clients.
pub fn steps(scope: &Scope<'_>) -> Vec<Step> {
    let Some(line) = scope.one("ssl_verify_client") else { return Vec::new() };
    let verified = |value: &str, not: bool| Condition {
        of: Template("${client_verified}".to_owned()),
        is: Some(ConditionTest::Equals(Template(value.to_owned()))),
        not,
    };
    let has_tls = Condition { of: Template("${tls_version}".to_owned()), is: None, not: false };
    let pages = scope.effective("error_page");
    let refuse = |when: Vec<Condition>, status: u16| {
        let is_caught = pages.iter().any(|page| page.has(&status.to_string()));
        let status = if is_caught { status } else { BAD_REQUEST };
        Step { when, then: vec![Action::Respond(answered(status))] }
    };
    let wrong =
        || refuse(vec![has_tls.clone(), verified("SUCCESS", true), verified("NONE", true)], WRONG);
    let mut steps = match line.argument(0) {
        Some("on") => {
            vec![wrong(), refuse(vec![has_tls.clone(), verified("NONE", false)], MISSING)]
        }
        Some("optional") => vec![wrong()],
        _ => Vec::new(),
    };
    if !line.has("off") {
        steps.insert(0, misdirected());
    }
    steps
}

/// Who asks for another server than the connection was made to is told so: that one may have judged otherwise.
fn misdirected() -> Step {
    let named = Template("${tls_server_name}".to_owned());
    let host = Some(ConditionTest::Equals(Template("${host}".to_owned())));
    let when = vec![
        Condition { of: named.clone(), is: None, not: false },
        Condition { of: named, is: host, not: true },
    ];
    Step { when, then: vec![Action::Respond(answered(MISDIRECTED))] }
}

/// Whether a server asks for certificates and names nobody who vouches for them: it takes none for verified, whatever
/// others of its address know.
pub fn vouches_for_none(scope: &Scope<'_>) -> bool {
    let asks = scope.one("ssl_verify_client").is_some_and(|line| !line.has("off"));
    let authorities = ["ssl_client_certificate", "ssl_trusted_certificate"];
    asks && authorities.iter().all(|name| scope.one(name).is_none())
}
