//! `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`: who the client is behind proxies.

use proxy_config::address::IpNetwork;
use proxy_config::listener::Listener;

use crate::translate::scope::Scope;
use crate::verdict::{Verdict, Verdicts};

/// What a server says of the clients of its listener.
pub fn client(scope: &Scope<'_>, listener: &mut Listener, verdicts: &mut Verdicts) {
    let lines = scope.effective("set_real_ip_from");
    if lines.is_empty() {
        return;
    }
    let header = scope.one("real_ip_header");
    let name = header.and_then(|line| line.argument(0)).unwrap_or("X-Real-IP");
    if name == "proxy_protocol" {
        let why = "the PROXY protocol is not read yet";
        header.into_iter().chain(lines.iter().copied()).for_each(|line| {
            verdicts.add(line, Verdict::unsupported(why));
        });
        return;
    }
    let mut networks = Vec::new();
    for line in lines {
        let text = line.argument(0).unwrap_or_default();
        match text.parse::<IpNetwork>() {
            Ok(network) => {
                networks.push(network);
                verdicts.add(line, Verdict::exact());
            }
            Err(_) if text == "unix:" => {
                verdicts.add(line, Verdict::ignored("requests do not come by unix sockets"));
            }
            Err(_) => verdicts.add(line, Verdict::unsupported("name the proxy by its address")),
        }
    }
    let recursive = scope.one("real_ip_recursive");
    let is_recursive = recursive.is_some_and(|line| line.has("on"));
    if let Some(line) = recursive {
        verdicts.add(line, Verdict::exact());
    }
    if let Some(line) = header {
        verdicts.add(line, match is_recursive || !name.eq_ignore_ascii_case("x-forwarded-for") {
            true => Verdict::exact(),
            false => Verdict::approximate(
                "the list is followed through all trusted proxies, as with real_ip_recursive on",
            ),
        });
    }
    let different = |known: &[IpNetwork]| !known.is_empty() && known != networks;
    if different(&listener.trusted_proxies) {
        let why =
            "another server of this address trusts other proxies, which holds for all of them";
        lines.iter().for_each(|line| verdicts.add(line, Verdict::approximate(why)));
    }
    for network in networks {
        if !listener.trusted_proxies.contains(&network) {
            listener.trusted_proxies.push(network);
        }
    }
    listener.client_address_header = Some(name.to_ascii_lowercase());
}
