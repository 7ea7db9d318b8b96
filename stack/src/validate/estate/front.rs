//! What stands before the proxy, and whether the proxy document goes with it.

use proxy_config::{Config, Problem, Tree};

use crate::check::is_public;
use crate::environment::Document;
use crate::environment::aws::{Aws, Balancer};

pub(super) fn faults(tree: &Tree, aws: &Aws, document: &Document, proxy: &Config) -> Vec<Problem> {
    let mut problems = listeners(tree, document, proxy);
    problems.extend(certificate(tree, aws, document));
    problems.extend(reached(tree, document));
    problems.extend(one_name_for_two(tree, document));
    let edge = &document.edge;
    if edge.waf == Some(true) && edge.balancer != Balancer::Application {
        let message = "a balancer of connections takes no firewall";
        let hint = "leave `waf` out; `cdn.firewall` is one before the CDN";
        problems.push(Problem::new("edge.waf", tree.place_of("edge.waf"), message).hint(hint));
    }
    problems
}

/// Who reaches it: ranges of private networks, and then no CDN, which stands on the internet.
fn reached(tree: &Tree, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let ranges = &document.edge.only_from;
    for (number, range) in ranges.iter().enumerate() {
        // The network has no addresses of IPv6.
        if is_public(range) || range.contains(':') {
            let path = format!("edge.only_from[{number}]");
            let message = format!("`{range}` is not a range of a private network");
            let hint = "write one of those of RFC 1918: `10.0.0.0/8`";
            problems.push(Problem::new(path.clone(), tree.place_of(&path), message).hint(hint));
        }
    }
    let asks = |origin: &str| origin == "edge";
    let cdn = document.cdn.as_ref().filter(|cdn| {
        asks(&cdn.otherwise.origin) || cdn.behaviours.iter().any(|it| asks(&it.origin))
    });
    if cdn.is_some() && !ranges.is_empty() {
        let message = "the CDN asks the edge, which the internet does not reach";
        let hint = "leave `only_from` out, or let the CDN ask buckets and functions only";
        let place = tree.place_of("edge.only_from");
        problems.push(Problem::new("edge.only_from", place, message).hint(hint));
    }
    problems
}

/// The CDN asks the edge by the edge's name: by that of its own it would ask itself.
fn one_name_for_two(tree: &Tree, document: &Document) -> Option<Problem> {
    let domain = &document.cdn.as_ref()?.domain;
    if document.edge.domain.as_ref() != Some(domain) {
        return None;
    }
    let message = format!("`{domain}` is the edge's name: it cannot lead to the CDN as well");
    let mut problem = Problem::new("cdn.domain", tree.place_of("cdn.domain"), message)
        .hint("give viewers another name than `edge.domain`, which the CDN asks the edge by");
    if let Some(place) = tree.place_of("edge.domain") {
        problem = problem.related(place, "the edge has it here");
    }
    Some(problem)
}

/// The secret that holds the certificate: there where TLS ends at the proxy, and only there.
fn certificate(tree: &Tree, aws: &Aws, document: &Document) -> Option<Problem> {
    let edge = &document.edge;
    let passes = edge.balancer == Balancer::Passthrough;
    let (path, message, hint) = match &edge.certificate {
        None if passes => {
            let message = "`edge.certificate` is missing: TLS ends at the proxy".to_owned();
            let hint = "name the secret that holds it: `certificate: arn:aws:secretsmanager:…`";
            ("edge.balancer", message, hint)
        }
        Some(_) if !passes => {
            let message = "the balancer has a certificate of its own, made by ACM".to_owned();
            ("edge.certificate", message, "leave it out, or write `balancer: passthrough`")
        }
        Some(arn) => {
            let start = format!("arn:aws:secretsmanager:{}:{}:secret:", aws.region, aws.account);
            if arn.strip_prefix(&start).is_some_and(|name| !name.is_empty()) {
                return None;
            }
            let message = format!("`{arn}` is no secret of the account in its region");
            let hint = "write its ARN: `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`";
            ("edge.certificate", message, hint)
        }
        None => return None,
    };
    Some(Problem::new(path, tree.place_of(path), message).hint(hint))
}

/// A balancer stands before the proxy: it has one listener, and no TLS of its own.
fn listeners(tree: &Tree, document: &Document, proxy: &Config) -> Vec<Problem> {
    let node = tree.get("edge.proxy.listeners");
    let span = |name: &str| node.and_then(|node| node.child(name)).or(node).map(|node| node.span);
    let passes = document.edge.balancer == Balancer::Passthrough;
    let mut problems = Vec::new();
    for (index, (name, listener)) in proxy.listeners.iter().enumerate() {
        let path = format!("edge.proxy.listeners.{name}");
        if index > 0 {
            let message = format!("`{name}` is one listener too many for AWS");
            let hint = "the balancer passes everything to one listener; tell hosts apart by routes";
            problems.push(Problem::new(path.clone(), span(name), message).hint(hint));
        }
        if listener.tls.is_some() {
            let message = format!("`{name}` has certificates of its own");
            let hint = match passes {
                true => "leave `tls` out in what AWS gets: `edge.certificate` is the certificate",
                false => "leave `tls` out in what AWS gets: the balancer has the certificate",
            };
            problems.push(Problem::new(path, span(name), message).hint(hint));
        }
    }
    problems
}
