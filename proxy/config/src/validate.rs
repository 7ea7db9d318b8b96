//! What types cannot say: names that exist, addresses that do not clash, routes that can match.
//! Every rule reports at the place of the value it is about ([`crate::findings`]).

use crate::config::Config;
use crate::findings::{Findings, full_path};
use crate::problem::Problem;
use crate::tree::Node;
use crate::{
    validate_acme, validate_by_request, validate_compression, validate_detours, validate_includes,
    validate_listeners, validate_logs, validate_policies, validate_routes, validate_steps,
    validate_templates, validate_upstreams,
};

/// Everything wrong with what a document means. `root` is the node it was read from, for places;
/// `base` is the path of that node. A section of which a part could not be read (`left_out`, full
/// paths) is not looked at: what is missing there would make other things look wrong.
pub fn validate(config: &Config, root: &Node, base: &str, left_out: &[String]) -> Vec<Problem> {
    let mut findings = Findings::none(root, base);
    let whole = |section: &str| {
        let full = full_path(base, section);
        !left_out.iter().any(|path| path.starts_with(&full))
    };
    if config.version != 1 {
        let message = format!("version {} is not known", config.version);
        findings.add("version", message, "this Forebay reads version 1");
    }
    if whole("listeners") && whole("admin") {
        validate_listeners::check(config, &mut findings);
        validate_acme::check(config, &mut findings);
    }
    if whole("upstreams") && whole("listeners") {
        validate_upstreams::check(config, &mut findings);
    }
    if whole("upstreams") && whole("routes") {
        validate_by_request::check(config, &mut findings);
    }
    if whole("routes") {
        validate_routes::check(config, &mut findings);
        validate_compression::check(config, &mut findings);
        validate_includes::check(config, &mut findings);
    }
    let policies =
        ["lanes", "buffer_policies", "cache", "rate_limits", "maps", "telemetry", "protected"];
    if policies.into_iter().all(whole) {
        validate_policies::check(config, &mut findings);
    }
    if whole("routes") && whole("maps") {
        validate_templates::check(config, &mut findings);
        validate_logs::check(config, &mut findings);
        validate_detours::check(config, &mut findings);
        validate_steps::check(config, &mut findings);
    }
    findings.problems()
}
