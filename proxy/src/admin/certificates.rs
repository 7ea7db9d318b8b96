//! Which certificates are shown, until when they are good, and how it stands with those an authority is asked for.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::acme::name::Name;
use crate::state::State;
use crate::tls::ocsp::stapler::Known;
use crate::tls::shown::{Shown, names};

/// What an operator may ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The name whose certificate is ordered anew, whatever is left of it.
    pub renew: String,
}

fn time(at: i64) -> Value {
    Timestamp::from_second(at).map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// All that are shown, by listener.
pub fn shown(state: &State) -> Value {
    let asked = state.tls.issued.names();
    let listeners = state.listening.certificates().into_iter().map(|(listener, certificates)| {
        let all = certificates.all().iter();
        let told = all.map(|shown| {
            let name = asked.iter().find(|name| std::sync::Arc::ptr_eq(&name.shown, shown));
            let known = state.tls.staples.of(shown).filter(|_| certificates.is_stapling);
            one(shown, name.map(|name| &**name), known.as_ref())
        });
        (listener, told.collect::<Value>())
    });
    Value::Object(listeners.collect())
}

fn one(shown: &Shown, name: Option<&Name>, stapled: Option<&Known>) -> Value {
    let mut told = Map::new();
    let key = if name.is_some() { "host" } else { "file" };
    told.insert(key.to_owned(), json!(shown.label));
    if let (Some(certificate), Some(validity)) = (shown.get(), shown.validity()) {
        let names = certificate.cert.first().and_then(|leaf| names(leaf).ok());
        told.insert("names".to_owned(), json!(names));
        told.insert("valid_from".to_owned(), time(validity.from));
        told.insert("valid_until".to_owned(), time(validity.until));
    }
    if let Some(name) = name {
        let known = name.known();
        let state = match (&known.trouble, shown.get()) {
            _ if known.is_ordering => "ordering",
            (Some(_), _) => "failing",
            (None, Some(_)) => "issued",
            (None, None) => "waiting",
        };
        told.insert("state".to_owned(), json!(state));
        let renews = known.renews_at(shown.validity());
        told.insert("renews".to_owned(), renews.map_or(Value::Null, time));
        if let Some(trouble) = known.trouble {
            told.insert("failures".to_owned(), json!(trouble.failures));
            told.insert("why".to_owned(), json!(trouble.why));
            told.insert("tries_again".to_owned(), time(trouble.not_before));
        }
    }
    if let Some(known) = stapled {
        let until = known.answer.as_ref().map(|(_, answered)| time(answered.next_update));
        let ocsp = json!({ "stapled_until": until, "why": known.why });
        told.insert("ocsp".to_owned(), ocsp);
    }
    Value::Object(told)
}

/// Brings metrics up to date: time alone changes them.
pub fn refresh_metrics(state: &State) {
    let metrics = &state.metrics.certificates;
    metrics.expiry.reset();
    metrics.ocsp_expiry.reset();
    for (listener, certificates) in state.listening.certificates() {
        for shown in certificates.all() {
            let until = shown.validity().map_or(0, |validity| validity.until);
            metrics.expiry.with_label_values(&[listener.as_str(), &shown.label]).set(until);
            if certificates.is_stapling {
                let known = state.tls.staples.of(shown).and_then(|known| known.answer);
                let until = known.map_or(0, |(_, answered)| answered.next_update);
                let labels = [listener.as_str(), &shown.label];
                metrics.ocsp_expiry.with_label_values(&labels).set(until);
            }
        }
    }
    metrics.failures.reset();
    for name in state.tls.issued.names() {
        let failures = name.known().trouble.map_or(0, |trouble| trouble.failures);
        metrics.failures.with_label_values(&[name.host.as_str()]).set(i64::from(failures));
    }
}
