//! `/policies` of the admin API: what is in force, a change and what it would do, and the way back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use proxy_config::Config;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::reload::{ReloadFault, replace};
use crate::state::State;
use crate::tuning::history::{Author, Cause, History};
use crate::tuning::{Tuned, TuningFault, differences, policies, tune};

/// A change that is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Values by their places in the document; null takes one out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "each_once")]
    pub set: BTreeMap<String, Value>,
    /// Goes back to what was in force under this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
    /// Goes back to what was in force before the last change.
    #[serde(default)]
    pub back: bool,
    /// Says what it would do and does nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Reads values by their places. Of two for one place nobody could say which is meant.
fn each_once<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    struct Places;

    impl<'de> Visitor<'de> for Places {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("values by their places")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut places = BTreeMap::new();
            while let Some((place, value)) = map.next_entry::<String, Value>()? {
                if places.contains_key(&place) {
                    return Err(de::Error::custom(format!("`{place}` is set twice; set it once")));
                }
                places.insert(place, value);
            }
            Ok(places)
        }
    }

    from.deserialize_map(Places)
}

#[derive(Debug, Error)]
pub enum OrderFault {
    #[error(transparent)]
    Tuning(#[from] TuningFault),
    #[error("give `set`, `back_to` or `back`, and only one of them")]
    NotOne,
    #[error("`note` holds a control character; write it on one line")]
    Note,
    #[error("no configuration {0} is remembered; see the history")]
    Forgotten(u64),
    #[error("there is nothing to go back to")]
    NothingBefore,
    #[error("{0} is in force already")]
    InForce(u64),
    #[error(transparent)]
    Reload(#[from] ReloadFault),
}

impl OrderFault {
    pub fn status(&self) -> StatusCode {
        match self {
            OrderFault::Tuning(TuningFault::NothingNew) | OrderFault::InForce(_) => {
                StatusCode::CONFLICT
            }
            OrderFault::Tuning(_) | OrderFault::NotOne | OrderFault::Note => {
                StatusCode::BAD_REQUEST
            }
            OrderFault::Forgotten(_) | OrderFault::NothingBefore => StatusCode::NOT_FOUND,
            OrderFault::Reload(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// The policies in force, and under which number they are.
pub fn shown(state: &State) -> Value {
    let current = state.current();
    json!({ "number": current.number, "policies": policies(&current.config) })
}

pub fn history(history: &History) -> Value {
    let records: Vec<_> = history.records().collect();
    json!({ "history": records })
}

/// Does what is asked, or says what it would do. Blocks as a reload does.
pub fn obey(state: &Arc<State>, order: Order, by: &str) -> Result<Value, OrderFault> {
    if order.note.as_ref().is_some_and(|note| note.contains(char::is_control)) {
        return Err(OrderFault::Note);
    }
    // Held until the end, so that nothing is in force that this change has not seen.
    let mut history = state.history.lock();
    let current = state.current();
    let Order { set, back_to, back, dry_run, note } = order;
    let (cause, tuned) = match (set.is_empty(), back_to, back) {
        (false, None, false) => (Cause::Set, tune(&current.config, &set)?),
        (true, Some(number), false) => {
            let record = history.find(number).ok_or(OrderFault::Forgotten(number))?;
            (Cause::Rollback, gone_back(&current.config, number, &record.config)?)
        }
        (true, None, true) => {
            let record = history.previous().ok_or(OrderFault::NothingBefore)?;
            (Cause::Rollback, gone_back(&current.config, record.number, &record.config)?)
        }
        _ => return Err(OrderFault::NotOne),
    };
    let Tuned { config, changes, routes } = tuned;
    let mut answer = json!({ "applied": !dry_run, "changes": changes, "routes": routes });
    if !dry_run {
        let author = Author { cause, by: Some(by.to_owned()), note };
        let number = replace(state, config, author, &mut history)?;
        tracing::info!(by, number, ?cause, changes = %json!(changes), "policies changed");
        answer["number"] = json!(number);
    }
    Ok(answer)
}

fn gone_back(current: &Config, number: u64, to: &Arc<Config>) -> Result<Tuned, OrderFault> {
    let written = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let changes = differences(&written(current), &written(to));
    if changes.is_empty() {
        return Err(OrderFault::InForce(number));
    }
    let routes = crate::tuning::affected(to, &changes);
    Ok(Tuned { config: Config::clone(to), changes, routes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_set_once() {
        let read = |text: &str| serde_json::from_str::<Order>(text).map_err(|e| e.to_string());
        let once = read("{\"set\":{\"a.b\":1,\"a.c\":null}}").unwrap();
        assert_eq!(once.set.len(), 2);
        let twice = read("{\"set\":{\"a.b\":1,\"a.c\":2,\"a.b\":1}}").unwrap_err();
        assert!(twice.contains("`a.b` is set twice"), "{twice}");
        assert!(read("{\"back\":true}").unwrap().set.is_empty());
    }
}
