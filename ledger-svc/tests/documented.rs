//! The OpenAPI document says what the router does.

use std::collections::HashSet;

use forebay_ledger::http::problem::{CONTENT_TYPE, KINDS};
use reqwest::Method;
use serde_json::Value;

use crate::engine::{Engine, Server};
use crate::running::answer;

fn document() -> Value {
    serde_json::to_value(forebay_ledger::http::document()).unwrap()
}

/// Every operation of the document: method, path, description of it.
pub fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let of_method = |(method, operation): (&String, &Value)| {
            (method.to_uppercase().parse().unwrap(), path.clone(), operation.clone())
        };
        item.as_object().unwrap().iter().map(of_method).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// An address of a path. The stream of events has no end, so it is asked for one that there is not.
pub fn concrete(path: &str) -> String {
    let endless = if path == "/v1/events" { "?after=nope" } else { "" };
    format!("{}{endless}", path.replace("{code}", "nope").replace("{id}", "nope"))
}

fn references(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                found.insert(reference.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_is_routed_and_every_path_knows_its_methods() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running().await;
    let document = running.api.read("/openapi.json").await;
    assert_eq!(document, self::document(), "served as printed");
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    let named: HashSet<&str> =
        operations.iter().map(|(_, _, o)| o["operationId"].as_str().unwrap()).collect();
    assert_eq!(named.len(), operations.len());
    for (method, path, _) in &operations {
        let concrete = concrete(path);
        let found = answer(running.api.request(method.clone(), &concrete)).await;
        let routed = found.status == 200
            || !["not-found", "method-not-allowed"].contains(&found.problem().as_str());
        assert!(routed, "{method} {path}");
        let allowed: HashSet<&str> =
            operations.iter().filter(|o| o.1 == *path).map(|o| o.0.as_str()).collect();
        for other in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if !allowed.contains(other.as_str()) {
                let refused = answer(running.api.request(other.clone(), &concrete)).await;
                assert_eq!(refused.problem(), "method-not-allowed", "{other} {path}");
            }
        }
    }
    let docs = running.api.get("/docs/").await;
    assert!(docs.status == 200 && docs.body.contains("swagger-ui"));
}

#[test]
fn every_error_response_is_a_problem_and_every_kind_is_documented() {
    let document = document();
    let mut documented = HashSet::new();
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            if status.as_str() == "304" {
                assert!(response["content"].is_null(), "{method} {path}");
                continue;
            }
            let content = response["content"].as_object().unwrap();
            if status.as_str() < "400" {
                let kind = match path.rsplit_once('.') {
                    Some((_, "csv")) => "text/csv",
                    Some((_, "beancount" | "ledger")) => "text/plain",
                    Some((_, "ndjson")) => "application/x-ndjson",
                    _ if path == "/v1/events" => "text/event-stream",
                    _ => "application/json",
                };
                assert_eq!(content.keys().collect::<Vec<_>>(), [kind], "{method} {path}");
                continue;
            }
            assert_eq!(
                content.keys().collect::<Vec<_>>(),
                [CONTENT_TYPE],
                "{method} {path} {status}"
            );
            let media = &content[CONTENT_TYPE];
            assert_eq!(media["schema"]["$ref"], "#/components/schemas/Problem");
            for (kind, example) in media["examples"].as_object().unwrap() {
                assert_eq!(example["value"]["status"].to_string(), *status, "{kind}");
                documented.insert(kind.clone());
            }
        }
        for status in ["401", "403", "429", "431", "500", "503"] {
            assert!(responses.contains_key(status), "{method} {path} {status}");
        }
    }
    let description = document["info"]["description"].as_str().unwrap();
    for row in &KINDS {
        assert!(description.contains(&format!("`{}`", row.type_uri())), "{}", row.name);
        let of_no_operation = ["not-found", "method-not-allowed"].contains(&row.name);
        assert_eq!(documented.contains(row.name), !of_no_operation, "{}", row.name);
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = HashSet::new();
    references(&document, &mut found);
    assert!(found.len() > 5);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
