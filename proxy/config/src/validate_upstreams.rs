//! Rules for upstreams.

use std::path::Component;

use crate::address::ServerAddress;
use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::leads::Leads;
use crate::template::{Compiled, Scope};
use crate::upstream::{Balance, FastCgi, Resolve, Sticky, Upstream, UpstreamProtocol, UpstreamTls};
use crate::upstream_health::{ATTEMPTS_MAX, HealthChecks, Probe, Retries};
use crate::validate_listeners::is_own;

/// Longest name of a gRPC service that is asked for.
const SERVICE_BYTES_MAX: usize = 127;

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    findings.names("upstreams", &config.upstreams, "an upstream");
    let leads = Leads::new(config);
    for (name, upstream) in &config.upstreams {
        let path = child("upstreams", name);
        check_servers(config, upstream, &path, findings);
        check_balance(upstream, &path, findings);
        check_protocol(&leads, upstream, &path, findings);
        check_limits(upstream, &path, findings);
        check_folders(upstream, &format!("{path}.x_sendfile"), findings);
        if let Some(sticky) = &upstream.sticky {
            check_sticky(sticky, &format!("{path}.sticky"), findings);
        }
        if let Some(checks) = &upstream.health_checks {
            check_health(upstream, checks, &format!("{path}.health_checks"), findings);
        }
    }
}

fn check_servers(config: &Config, upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    let servers = &upstream.servers;
    let section = format!("{path}.servers");
    if servers.is_empty() && upstream.by_request.is_none() {
        let hint = "add one: `servers: [ { address: 127.0.0.1:8081 } ]`";
        findings.add(&section, "an upstream needs at least one server", hint);
    } else if !servers.is_empty() && servers.iter().all(|server| server.weight == 0) {
        let hint = "give at least one server a weight of 1";
        findings.add(&section, "every server has weight 0, so none takes a request", hint);
    }
    if !servers.is_empty() && servers.iter().all(|server| server.backup) {
        let hint = "leave `backup` off at least one server";
        findings.add(&section, "every server is a backup, and none is there to back up", hint);
    }
    for (index, server) in servers.iter().enumerate() {
        let address_path = format!("{}.address", item(&section, index));
        let attempts = format!("{}.attempts_max", item(&section, index));
        findings.not_zero(attempts, server.attempts_max);
        if let Some(max) = server.connections_max {
            findings.not_zero(format!("{}.connections_max", item(&section, index)), max);
        }
        if let Some(earlier) = servers[..index].iter().position(|s| s.address == server.address) {
            findings.add_related(
                &address_path,
                format!("server `{}` is listed twice", server.address),
                "list it once and raise its `weight`",
                (&format!("{}.address", item(&section, earlier)), "first listed here"),
            );
        }
        for (name, listener) in &config.listeners {
            if is_own(&listener.address, &server.address) && !may_end(config, name, upstream) {
                let own = format!("{}.address", child("listeners", name));
                findings.add_related(
                    &address_path,
                    format!("server `{}` is the proxy's own listener `{name}`", server.address),
                    "requests would go round in a circle; name the server behind the proxy",
                    (&own, "the listener"),
                );
            }
        }
    }
}

fn check_balance(upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    let hashes = upstream.balance == Balance::ConsistentHash;
    if hashes && upstream.hash_key.is_empty() {
        let hint = "add `hash_key: [client]`, or another part of the request";
        findings.add(format!("{path}.balance"), "`consistent_hash` needs a `hash_key`", hint);
    }
    if !hashes && !upstream.hash_key.is_empty() {
        let hint = "set `balance: consistent_hash`, or remove `hash_key`";
        findings.add(format!("{path}.hash_key"), "`hash_key` has no effect here", hint);
    }
}

/// What is handed out is compared with these as they are written.
fn check_folders(upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    for (index, folder) in upstream.x_sendfile.iter().enumerate() {
        let written = folder.display();
        let climbs = folder.components().any(|part| part == Component::ParentDir);
        if !folder.is_absolute() || climbs {
            let message = format!("`{written}` is not an absolute path without `..`");
            findings.add(item(path, index), message, "begin it with `/`, and write where it leads");
        } else if folder.parent().is_none() {
            let hint = "name the directory that holds what may be handed out";
            findings.add(item(path, index), "`/` would hand out every file there is", hint);
        }
    }
}

fn check_protocol(leads: &Leads<'_>, upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    let scope = leads.scope();
    let is_fastcgi = upstream.protocol == Some(UpstreamProtocol::Fastcgi);
    if is_fastcgi && upstream.fastcgi.is_none() {
        let hint = "add `fastcgi: { root: /path/of/scripts }`";
        findings.add(format!("{path}.protocol"), "`fastcgi` needs a `fastcgi` section", hint);
    }
    if !is_fastcgi && upstream.fastcgi.is_some() {
        let hint = "set `protocol: fastcgi`, or remove the section";
        findings.add(format!("{path}.fastcgi"), "`fastcgi` has no effect here", hint);
    }
    if let Some(fastcgi) = &upstream.fastcgi {
        check_fastcgi(fastcgi, &scope, &format!("{path}.fastcgi"), findings);
    }
    let active = upstream.health_checks.as_ref().and_then(|checks| checks.active.as_ref());
    if is_fastcgi && active.is_some_and(|active| active.probe != Probe::Tcp) {
        let place = format!("{path}.health_checks.active.probe");
        findings.add(place, "FastCGI servers do not speak HTTP", "write `probe: tcp`");
    }
    if is_fastcgi && upstream.tls.is_some() {
        findings.add(format!("{path}.tls"), "FastCGI has no TLS", "remove `tls`");
    }
    if let Some(tls) = &upstream.tls {
        check_tls(upstream, tls, &format!("{path}.tls"), findings);
    }
}

fn check_tls(upstream: &Upstream, tls: &UpstreamTls, path: &str, findings: &mut Findings<'_>) {
    match &tls.server_name {
        Some(name) => {
            let is_ip = name.parse::<std::net::IpAddr>().is_ok();
            let fault = crate::dns_name::name_fault(&name.to_ascii_lowercase());
            if let Some(fault) = fault.filter(|_| !is_ip) {
                let message = format!("`{name}` is not the name of a server");
                findings.add(format!("{path}.server_name"), message, fault);
            }
        }
        None => {
            let is_unix = |address: &ServerAddress| matches!(address, ServerAddress::Unix(_));
            if upstream.servers.iter().any(|server| is_unix(&server.address)) {
                let message = "a server at a Unix socket has no name that could be verified";
                findings.add(path, message, "add `server_name: NAME`, as its certificate has it");
            }
        }
    }
    if !tls.verify && tls.authorities.is_some() {
        let message = "authorities are named, but nothing is verified";
        findings.add(format!("{path}.authorities"), message, "remove it, or `verify: false`");
    }
    if let Some(files) = &tls.client_certificate {
        for (key, file) in [("certificate", &files.certificate), ("key", &files.key)] {
            if file.as_os_str().is_empty() {
                let path = format!("{path}.client_certificate.{key}");
                findings.add(path, "the path is empty", "name a PEM file");
            }
        }
    }
}

fn check_fastcgi(fastcgi: &FastCgi, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    if !fastcgi.root.is_absolute() {
        let message = format!("`{}` is not an absolute path", fastcgi.root.display());
        findings.add(format!("{path}.root"), message, "write it from the root: `/srv/app/public`");
    }
    if let Some(index) = fastcgi.index.as_ref().filter(|i| i.is_empty() || i.contains('/')) {
        let message = format!("`{index}` is not the name of a script");
        findings.add(format!("{path}.index"), message, "write one such as `index.php`");
    }
    for (index, ending) in fastcgi.split.iter().enumerate() {
        if !ending.starts_with('.') || ending.contains('/') {
            let place = item(format!("{path}.split"), index);
            let message = format!("`{ending}` is not what a name ends in");
            findings.add(place, message, "write one such as `.php`");
        }
    }
    for (name, value) in &fastcgi.params {
        let place = child(&format!("{path}.params"), name);
        // Some applications look for names of their own with small letters.
        let fine = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !fine {
            let message = format!("`{name}` is not the name of a parameter");
            findings.add(&place, message, "use letters, digits and `_`: `APP_ENV`");
        }
        if let Err(error) = Compiled::new(&value.0, scope) {
            findings.add(place, error.message, error.hint);
        }
    }
}

fn check_limits(upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    let timeouts = &upstream.timeouts;
    let all = [
        ("connect", timeouts.connect),
        ("read", timeouts.read),
        ("write", timeouts.write),
        ("idle", timeouts.idle),
        ("tunnel", timeouts.tunnel),
    ];
    for (key, time) in all {
        findings.time_not_zero(format!("{path}.timeouts.{key}"), time);
    }
    if let Some(time) = timeouts.first_byte {
        findings.time_not_zero(format!("{path}.timeouts.first_byte"), time);
    }
    if let Some(retries) = &upstream.retries {
        check_retries(retries, &format!("{path}.retries"), findings);
    }
    if let Some(pool) = &upstream.connections {
        findings.not_zero(format!("{path}.connections.connections_max"), pool.connections_max);
        if let Some(max) = pool.requests_max {
            findings.not_zero(format!("{path}.connections.requests_max"), max);
        }
        if pool.idle_max > pool.connections_max {
            let message = "more unused connections are kept than there may be";
            let hint = "make `idle_max` at most `connections_max`";
            findings.add(format!("{path}.connections.idle_max"), message, hint);
        }
    }
    if let Some(resolve) = &upstream.resolve {
        check_resolve(upstream, resolve, &format!("{path}.resolve"), findings);
    }
}

fn check_resolve(upstream: &Upstream, resolve: &Resolve, path: &str, findings: &mut Findings<'_>) {
    let is_name = |address: &ServerAddress| matches!(address, ServerAddress::Name { .. });
    let has_name = upstream.servers.iter().any(|server| is_name(&server.address));
    if !has_name && upstream.by_request.is_none() {
        let message = "no server of this upstream has a name that could be looked up";
        findings.add(path, message, "remove it");
    }
    findings.time_not_zero(format!("{path}.interval_min"), resolve.interval_min);
    if resolve.interval_min > resolve.interval_max {
        let hint = "make `interval_min` at most `interval_max`";
        findings.add(format!("{path}.interval_min"), "the shortest is above the longest", hint);
    }
}

fn check_retries(retries: &Retries, path: &str, findings: &mut Findings<'_>) {
    findings.not_zero(format!("{path}.attempts_max"), retries.attempts_max);
    if retries.attempts_max > ATTEMPTS_MAX {
        let message = format!("{} attempts are too many", retries.attempts_max);
        let hint = format!("write at most {ATTEMPTS_MAX}");
        findings.add(format!("{path}.attempts_max"), message, hint);
    }
    if let Some(name) = &retries.idempotency_header
        && http::HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        let message = format!("`{name}` cannot be the name of a header");
        findings.add(format!("{path}.idempotency_header"), message, "write `Idempotency-Key`");
    }
}

fn check_sticky(sticky: &Sticky, path: &str, findings: &mut Findings<'_>) {
    // The characters of a cookie's name are those of a header's (RFC 6265 section 4.1.1).
    if http::HeaderName::from_bytes(sticky.cookie.as_bytes()).is_err() {
        let message = format!("`{}` cannot be the name of a cookie", sticky.cookie);
        findings.add(format!("{path}.cookie"), message, "use letters, digits, `-` and `_`");
    }
    if let Some(lifetime) = sticky.lifetime {
        findings.time_not_zero(format!("{path}.lifetime"), lifetime);
    }
}

fn check_health(
    upstream: &Upstream,
    checks: &HealthChecks,
    path: &str,
    findings: &mut Findings<'_>,
) {
    if let Some(passive) = &checks.passive {
        findings.not_zero(format!("{path}.passive.failures_max"), passive.failures_max);
        for (index, status) in passive.statuses.iter().enumerate() {
            findings.status(item(format!("{path}.passive.statuses"), index), *status, 400, 599);
        }
    }
    let Some(active) = &checks.active else { return };
    findings.time_not_zero(format!("{path}.active.interval"), active.interval);
    findings.time_not_zero(format!("{path}.active.timeout"), active.timeout);
    findings.not_zero(format!("{path}.active.failures_max"), active.failures_max);
    findings.not_zero(format!("{path}.active.successes_min"), active.successes_min);
    if active.timeout > active.interval {
        let hint = "make `timeout` at most `interval`";
        findings.add(format!("{path}.active.timeout"), "probes of one server would overlap", hint);
    }
    if let Probe::Grpc(service) = &active.probe {
        let path = format!("{path}.active.probe.grpc");
        if upstream.protocol != Some(UpstreamProtocol::Http2) {
            findings.add(&path, "gRPC needs HTTP/2", "set `protocol: http2` on the upstream");
        }
        if service.len() > SERVICE_BYTES_MAX {
            let hint = format!("write at most {SERVICE_BYTES_MAX} bytes");
            findings.add(&path, "the name of the service is too long", hint);
        }
    }
    if let Probe::Http(probe) = &active.probe {
        let path = format!("{path}.active.probe.http");
        if !probe.path.starts_with('/') {
            findings.add(format!("{path}.path"), "a path begins with `/`", "write `/healthz`");
        }
        for (index, status) in probe.statuses.iter().enumerate() {
            findings.status(item(format!("{path}.statuses"), index), *status, 200, 599);
        }
    }
}

/// Whether requests on this listener may end elsewhere than at this upstream. Then what is passed on
/// to the listener under another path or host goes round in no circle.
fn may_end(config: &Config, listener: &str, upstream: &Upstream) -> bool {
    let is =
        |name: &String| config.upstreams.get(name).is_some_and(|it| std::ptr::eq(it, upstream));
    config.routes.iter().any(|route| {
        let listeners = &route.when.listeners;
        let here = listeners.is_empty() || listeners.iter().any(|name| name == listener);
        let parts = route.split.iter().flat_map(|split| &split.parts);
        here && !route.upstream.iter().chain(parts.map(|part| &part.upstream)).any(is)
    })
}
