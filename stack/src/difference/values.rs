//! Where two JSON values differ.

use serde_json::Value;

/// A path and what stands there before and after.
pub type Differing = (String, Option<Value>, Option<Value>);

/// Every innermost place at which the two differ: `Rules/0/Priority`. Lists of different lengths
/// differ as a whole.
pub fn differing(before: &Value, after: &Value) -> Vec<Differing> {
    let mut found = Vec::new();
    compare(String::new(), given(before), given(after), &mut found);
    found
}

fn given(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn compare(
    path: String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Differing>,
) {
    if before == after {
        return;
    }
    let inner =
        |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}/{step}") };
    match (before, after) {
        (Some(Value::Object(was)), Some(Value::Object(is))) if !is_function(was, is) => {
            for (key, value) in was {
                compare(inner(key), Some(value), is.get(key), found);
            }
            for (key, value) in is.iter().filter(|(key, _)| !was.contains_key(*key)) {
                compare(inner(key), None, Some(value), found);
            }
        }
        // All properties are new, or gone: each is a change of its own.
        (None, Some(Value::Object(is))) if path.is_empty() => {
            is.iter().for_each(|(key, value)| compare(inner(key), None, Some(value), found));
        }
        (Some(Value::Object(was)), None) if path.is_empty() => {
            was.iter().for_each(|(key, value)| compare(inner(key), Some(value), None, found));
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) if was.len() == is.len() => {
            for (index, (was, is)) in was.iter().zip(is).enumerate() {
                compare(inner(&index.to_string()), Some(was), Some(is), found);
            }
        }
        _ => found.push((path, before.cloned(), after.cloned())),
    }
}

/// `Ref` and `Fn::…` are one value, whatever is in them; a joined text shows which line differs.
fn is_function(was: &serde_json::Map<String, Value>, is: &serde_json::Map<String, Value>) -> bool {
    let function = |map: &serde_json::Map<String, Value>| {
        map.len() == 1
            && map.keys().all(|key| {
                key == "Ref"
                    || (key.starts_with("Fn::") && key != "Fn::Join" && key != "Fn::Base64")
            })
    };
    function(was) || function(is)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_innermost_place_is_named() {
        let paths = |before: Value, after: Value| -> Vec<String> {
            differing(&before, &after).into_iter().map(|(path, ..)| path).collect()
        };
        let same = json!({ "A": [1, { "B": 2 }] });
        assert!(paths(same.clone(), same.clone()).is_empty());
        assert_eq!(paths(same.clone(), json!({ "A": [1, { "B": 3 }] })), ["A/1/B"]);
        assert_eq!(paths(same.clone(), json!({ "A": [1] })), ["A"]);
        assert_eq!(paths(same, json!({ "C": true })), ["A", "C"]);
        assert_eq!(paths(json!({ "A": { "Ref": "X" } }), json!({ "A": { "Ref": "Y" } })), ["A"]);
        assert_eq!(paths(json!({}), json!({ "A": 1, "B": { "C": 2 } })), ["A", "B"]);
        assert_eq!(paths(Value::Null, json!({ "A": 1, "B": 2 })), ["A", "B"]);
        let joined = |line: &str| json!({ "U": { "Fn::Join": ["\n", ["a", line]] } });
        assert_eq!(paths(joined("b"), joined("c")), ["U/Fn::Join/1/1"]);
    }
}
