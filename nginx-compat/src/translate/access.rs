//! `allow` and `deny`: who may ask, by address. nginx takes the first line that fits.

use proxy_config::address::IpNetwork;
use proxy_config::route_access::{Access, AccessRule, Satisfy};

use crate::translate::scope::Scope;
use crate::verdict::{Verdict, Verdicts};

/// The rules in effect; none when everybody may ask. The error says why the location must stay
/// closed.
pub fn access(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Result<Option<Access>, String> {
    let mut lines = scope.effective_of(&["allow", "deny"]);
    lines.sort_by_key(|line| line.id);
    let mut rules = Vec::new();
    for line in lines {
        let text = line.argument(0).unwrap_or_default();
        let networks = match text {
            "all" => vec!["0.0.0.0/0", "::/0"],
            "unix:" => {
                let why =
                    "who comes by a unix socket has no address, and is refused where any list is";
                verdicts.add(line, Verdict::approximate(why));
                continue;
            }
            network => vec![network],
        };
        for network in networks {
            let parsed: Result<IpNetwork, _> = network.parse();
            let network = parsed.map_err(|_| format!("{network:?} is no network"))?;
            rules.push(match line.name.as_str() {
                "allow" => AccessRule::Allow(network),
                _ => AccessRule::Deny(network),
            });
        }
        verdicts.add(line, Verdict::exact());
    }
    let restricts = rules.iter().any(|rule| matches!(rule, AccessRule::Deny(_)));
    if !restricts {
        return Ok(None);
    }
    let satisfy = satisfy(scope, verdicts);
    Ok(Some(Access { rules, satisfy, ..Access::default() }))
}

/// `satisfy any`: an address that may ask need prove nothing. It means something only where both are in effect.
fn satisfy(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Satisfy {
    let Some(line) = scope.one("satisfy") else { return Satisfy::All };
    verdicts.add(line, Verdict::exact());
    let in_effect = |name: &str| scope.one(name).is_some_and(|line| !line.has("off"));
    let proves = in_effect("auth_basic") || in_effect("auth_request");
    if line.has("any") && proves { Satisfy::Any } else { Satisfy::All }
}
