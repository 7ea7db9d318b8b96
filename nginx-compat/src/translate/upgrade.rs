//! WebSocket and other upgrades, as sites write them: `proxy_set_header Upgrade $http_upgrade` with a `Connection` that
//! names it. Forebay puts a client's offer to the upstream in its own words, where its route lets it through.

use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// Any protocol.
const ANY: &str = "*";

/// What a location sends as `Upgrade`.
enum Offer {
    Nothing,
    /// Whatever the client offers.
    Clients,
    /// One protocol, whatever the client offers.
    Own(String),
}

/// When its `Connection` names the field.
#[derive(PartialEq)]
enum Named {
    Never,
    WithAnOffer,
    Always,
}

/// The protocols that a location lets through. Both lines have their verdicts then.
pub fn upgrades(
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Vec<String> {
    let lines = scope.effective("proxy_set_header");
    let line = |name: &str| {
        let is =
            |line: &&&Directive| line.argument(0).is_some_and(|is| is.eq_ignore_ascii_case(name));
        lines.iter().find(is).copied()
    };
    let (upgrade, connection) = (line("upgrade"), line("connection"));
    let offer = upgrade.map_or(Ok(Offer::Nothing), offer);
    let named = connection.map_or(Ok(Named::Never), |line| named(line, place, names, verdicts));
    let (offer, named) = match (offer, named) {
        (Ok(offer), Ok(named)) => (offer, named),
        (offer, named) => {
            let mut say = |line: Option<&Directive>, fault: Option<String>| {
                let why =
                    fault.unwrap_or_else(|| "the other of the two is not translated".to_owned());
                line.into_iter()
                    .for_each(|line| verdicts.add(line, Verdict::unsupported(why.clone())));
            };
            say(upgrade, offer.err());
            say(connection, named.err());
            return Vec::new();
        }
    };
    let is_old = scope.one("proxy_http_version").is_none_or(|line| !line.has("1.1"));
    let (let_through, of_upgrade, of_connection) = judged(offer, named, is_old, connection);
    for (line, verdict) in [(upgrade, of_upgrade), (connection, of_connection)] {
        line.into_iter().for_each(|line| verdicts.add(line, verdict.clone()));
    }
    let_through
}

/// What the two come to together, and what is said of each.
fn judged(
    offer: Offer,
    named: Named,
    is_old: bool,
    connection: Option<&Directive>,
) -> (Vec<String>, Verdict, Verdict) {
    let unsent = |why: &str| Verdict::approximate(format!("the header is not sent: {why}"));
    match (offer, named) {
        (Offer::Nothing, Named::Never) => (Vec::new(), Verdict::exact(), kept_alive(connection)),
        (Offer::Nothing, _) => {
            (Vec::new(), Verdict::exact(), unsent("no protocol is offered with it"))
        }
        (_, Named::Never) => {
            let why = unsent("Connection does not name it, so no server acts on it");
            (Vec::new(), why, kept_alive(connection))
        }
        (_, _) if is_old => {
            let why =
                unsent("nginx asks in HTTP/1.0 (proxy_http_version), in which nothing is upgraded");
            (Vec::new(), why.clone(), why)
        }
        (offer, named) => {
            let (offered, verdict) = match offer {
                Offer::Own(protocol) => {
                    let why = format!("{protocol} is offered where the client offers it");
                    (protocol.to_ascii_lowercase(), Verdict::approximate(why))
                }
                _ => {
                    let why = "h2c and TLS are not offered, nor anything with a body: requests would pass unseen";
                    (ANY.to_owned(), Verdict::approximate(why))
                }
            };
            let always = || Verdict::approximate("it is sent with an offer, and not without one");
            let is_always = named == Named::Always;
            (vec![offered], verdict, if is_always { always() } else { Verdict::exact() })
        }
    }
}

/// A `Connection` that only says how long a connection is kept.
fn kept_alive(line: Option<&Directive>) -> Verdict {
    match line.and_then(|line| line.argument(1)) {
        None | Some("") => Verdict::exact(),
        Some(_) => Verdict::approximate(
            "connections to the upstream are kept by HTTP/1.1's own rule, without the header",
        ),
    }
}

fn offer(line: &Directive) -> Result<Offer, String> {
    match line.argument(1).unwrap_or_default() {
        "" => Ok(Offer::Nothing),
        "$http_upgrade" | "${http_upgrade}" => Ok(Offer::Clients),
        text if !text.contains(['$', ',', ' ', '/']) => Ok(Offer::Own(text.to_owned())),
        text => Err(format!(
            "{text:?} is no protocol; write $http_upgrade, which passes the client's on"
        )),
    }
}

fn named(
    line: &Directive,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Named, String> {
    let says =
        |text: &str| text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let harmless = |text: &str| {
        text.split(',').map(str::trim).all(|token| {
            ["", "close", "keep-alive"].iter().any(|known| token.eq_ignore_ascii_case(known))
        })
    };
    let text = line.argument(1).unwrap_or_default();
    match text {
        "$http_connection" | "${http_connection}" => return Ok(Named::WithAnOffer),
        text if says(text) => return Ok(Named::Always),
        text if harmless(text) => return Ok(Named::Never),
        _ => {}
    }
    let name = text.trim_start_matches('$').trim_matches(['{', '}']);
    if !text.starts_with('$') || name.contains('$') {
        return Err(format!("Forebay frames messages by itself and sends no Connection: {text}"));
    }
    let values = names.values(name, place, verdicts)?;
    match values.iter().all(|value| says(value) || harmless(value)) {
        true if values.iter().any(|value| says(value)) => Ok(Named::WithAnOffer),
        true => Ok(Named::Never),
        false => Err(format!("${name} names more than `upgrade`, `close` and `keep-alive`")),
    }
}
