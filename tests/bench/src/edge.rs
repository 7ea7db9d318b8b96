//! What a proxy at the edge of a video service does when it matters: `video-edge`.
//!
//! [`origin`] is an origin that is slow, dies and counts; [`client`] asks and watches the clock; [`rows`] are the
//! cases, each with what Forebay must come to. Peers are the files `peers/edge-*.peer`.

pub mod client;
pub mod origin;
pub mod rows;

use anyhow::{Context as _, Result};

use crate::edge::origin::Origin;
use crate::edge::rows::Case;
use crate::peer::Peer;
use crate::running::{Bench, Running};

/// The peers of this program, Forebay first.
pub fn peers() -> Result<Vec<Peer>> {
    [
        include_str!("../peers/edge-forebay.peer"),
        include_str!("../peers/edge-nginx.peer"),
        include_str!("../peers/edge-varnish.peer"),
        include_str!("../peers/edge-haproxy.peer"),
    ]
    .into_iter()
    .map(Peer::parse)
    .collect()
}

/// What one peer came to in one case, or why it came to nothing.
pub type Outcome = Result<Vec<f64>, String>;

/// Measures a case with a peer started afresh before an origin of its own.
pub fn measure(bench: &Bench, peer: &Peer, case: &Case) -> Outcome {
    let measured = || {
        let origin = Origin::start().context("no origin")?;
        let running = Running::start_before(bench, peer, case.id, origin.address)?;
        (case.measure)(&running, &origin)
    };
    measured().map_err(|error: anyhow::Error| format!("{error:#}"))
}

/// The table, and whether Forebay, the first of the peers, came to what it must.
pub fn table(names: &[String], cases: &[&Case], outcomes: &[Vec<Outcome>]) -> (String, bool) {
    let mut text = format!("{:66}{:>14}", "", "must");
    for name in names {
        text.push_str(&format!("{name:>12}"));
    }
    text.push('\n');
    let mut all_pass = true;
    let mut faults = String::new();
    for (case, of_peers) in cases.iter().zip(outcomes) {
        for (index, figure) in case.figures.iter().enumerate() {
            text.push_str(&format!("{:66}{:>14}", figure.what, figure.must));
            for (at, outcome) in of_peers.iter().enumerate() {
                let value = outcome.as_ref().ok().and_then(|values| values.get(index));
                let shown =
                    value.map_or("–".to_owned(), |value| format!("{value:.*}", figure.places));
                text.push_str(&format!("{shown:>12}"));
                if at == 0 {
                    let passes = value.is_some_and(|value| (figure.holds)(*value));
                    all_pass &= passes;
                    text.push_str(if passes { " pass" } else { " FAIL" });
                }
            }
            text.push('\n');
        }
        for (name, outcome) in names.iter().zip(of_peers) {
            if let Err(why) = outcome {
                faults.push_str(&format!("{name}, {}: {why}\n", case.id));
            }
        }
    }
    text.push_str(&faults);
    (text, all_pass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::rows::ALL;

    #[test]
    fn what_is_not_reached_is_said() {
        let names = ["Forebay".to_owned(), "x".to_owned()];
        let good = |case: &Case| Ok(vec![0.0; case.figures.len()]);
        let mut outcomes: Vec<Vec<Outcome>> =
            ALL.iter().map(|case| vec![good(case), Err("no".to_owned())]).collect();
        let cases: Vec<&Case> = ALL.iter().collect();
        let (text, all_pass) = table(&names, &cases, &outcomes);
        assert!(!all_pass && text.contains("x, herd: no"), "no fetch at all is none: {text}");
        outcomes[0][0] = Ok(vec![1.0, 3.0]);
        assert!(table(&names, &cases, &outcomes).0.contains("1 pass"));
    }

    #[test]
    fn the_peers_can_be_read() {
        let names: Vec<String> = peers().unwrap().into_iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["Forebay", "nginx", "Varnish", "HAProxy"]);
    }
}
