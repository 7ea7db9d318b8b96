//! The OpenAPI document of the admin API: one table of operations, and the schemas of what they take and answer. A test
//! holds it against the paths there are and against real answers.

use serde_json::{Map, Value, json};

/// What bodies look like, by their names under `components`.
const SCHEMAS: &str = include_str!("schemas.json");

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Who may do something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Any token.
    Viewer,
    Operator,
}

/// What is done at a path with GET or POST; HEAD goes wherever GET does.
struct Operation {
    path: &'static str,
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    needs: Needs,
    /// The schema of the request's body.
    takes: Option<&'static str>,
    /// Status, what it means, type and schema of each answer that is not refused for want of a token, or for its body.
    answers: &'static [Answer],
}

const fn read(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation { path, method: "get", id, summary, needs: Needs::Viewer, takes: None, answers: &[] }
}

const fn order(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let needs = Needs::Operator;
    Operation { path, method: "post", id, summary, needs, takes: None, answers: &[] }
}

static OPERATIONS: [Operation; 12] = [
    Operation {
        needs: Needs::Nothing,
        answers: &[(200, "It does", TEXT, None)],
        ..read("/healthz", "isHealthy", "Whether the process answers")
    },
    Operation {
        needs: Needs::Nothing,
        answers: &[
            (200, "Send requests here", TEXT, None),
            (503, "It stops: send none any more", TEXT, None),
        ],
        ..read("/readyz", "isReady", "Whether requests are to be sent here")
    },
    Operation {
        needs: Needs::Nothing,
        answers: &[(200, "In Prometheus's text format", TEXT, None)],
        ..read("/metrics", "getMetrics", "All metrics, as METRICS.md has them")
    },
    Operation {
        answers: &[(200, "This document", JSON, None)],
        ..read("/openapi.json", "getOpenApi", "What can be asked here")
    },
    Operation {
        answers: &[(200, "The policies", JSON, Some("Policies")), INTERNAL],
        ..read("/policies", "getPolicies", "The policies in force")
    },
    Operation {
        answers: &[(200, "The records", JSON, Some("History")), INTERNAL],
        ..read("/policies/history", "getHistory", "What was in force, and who put it there")
    },
    Operation {
        takes: Some("PolicyOrder"),
        answers: &[
            (200, "It is in force, or would be", JSON, Some("Changed")),
            (404, "What it goes back to is not remembered", PROBLEM, Some("Problem")),
            (409, "It changes nothing", PROBLEM, Some("Problem")),
            (422, "It cannot be put in force", PROBLEM, Some("Problem")),
            INTERNAL,
        ],
        ..order("/policies", "changePolicies", "Changes policies, or goes back")
    },
    Operation {
        takes: Some("PurgeOrder"),
        answers: &[
            (200, "It is in force", JSON, Some("Purged")),
            (404, "There is no such cache", PROBLEM, Some("Problem")),
            (503, "Too much is being purged; nothing of this was", PROBLEM, Some("Problem")),
            INTERNAL,
        ],
        ..order("/purge", "purge", "Takes answers out of caches")
    },
    Operation {
        answers: &[(200, "By route", JSON, Some("Mirrors"))],
        ..read("/mirrors", "getMirrors", "How answers of mirrors differ")
    },
    Operation {
        answers: &[(200, "The slowest first", JSON, Some("Slowest"))],
        ..read("/slowest", "getSlowest", "Which requests took the longest lately")
    },
    Operation {
        answers: &[(200, "By listener", JSON, Some("Certificates"))],
        ..read("/certificates", "getCertificates", "Which certificates are shown")
    },
    Operation {
        takes: Some("RenewOrder"),
        answers: &[
            (200, "It is being ordered", JSON, Some("Renewing")),
            (404, "No listener asks an authority for it", PROBLEM, Some("Problem")),
        ],
        ..order("/certificates", "renewCertificate", "Orders a certificate anew")
    },
];

type Answer = (u16, &'static str, &'static str, Option<&'static str>);
const INTERNAL: Answer = (500, "A fault of the proxy's", PROBLEM, Some("Problem"));

/// Answers of all that need a token.
const PROVED: [Answer; 2] = [
    (401, "No token, or none of `admin.tokens`", PROBLEM, Some("Problem")),
    (403, "The document has no tokens, or the token's role is viewer", PROBLEM, Some("Problem")),
];
/// Answers of all that take a body.
const TAKING: [Answer; 3] = [
    (400, "The body is no such order, or orders what cannot be", PROBLEM, Some("Problem")),
    (408, "The body took more than 10 seconds", PROBLEM, Some("Problem")),
    (413, "The body is longer than 256 KiB", PROBLEM, Some("Problem")),
];

/// The document, OpenAPI 3.1.
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in &OPERATIONS {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method] = told(operation, operation.id, true);
        if operation.method == "get" {
            item["head"] = told(operation, &format!("{}Head", operation.id), false);
        }
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("a test reads it");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Forebay proxy, admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Served on `admin.address` and nowhere else. Whoever changes something has a token of the role \
                operator; what names files, or what people asked for, takes any token. Another method is 405, another path 404, \
                both in plain text.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer", "description": "What is in a file of `admin.tokens`",
            } },
        },
    })
}

fn told(operation: &Operation, id: &str, has_bodies: bool) -> Value {
    let proved: &[Answer] = if operation.needs == Needs::Nothing { &[] } else { &PROVED };
    let taking: &[Answer] = if operation.takes.is_some() { &TAKING } else { &[] };
    let mut responses = Map::new();
    for (status, what, kind, schema) in operation.answers.iter().chain(proved).chain(taking) {
        let mut response = json!({ "description": what });
        if has_bodies {
            response["content"] = content(kind, *schema);
        }
        responses.insert(status.to_string(), response);
    }
    let roles = match operation.needs {
        Needs::Nothing => "Roles: none is needed.",
        Needs::Viewer => "Roles: viewer, operator.",
        Needs::Operator => "Roles: operator.",
    };
    let mut told = json!({
        "operationId": id,
        "summary": operation.summary,
        "description": roles,
        "responses": responses,
    });
    if operation.needs != Needs::Nothing {
        told["security"] = json!([{ "token": [] }]);
    }
    if let Some(schema) = operation.takes {
        told["requestBody"] = json!({ "required": true, "content": content(JSON, Some(schema)) });
    }
    told
}

fn content(kind: &str, schema: Option<&str>) -> Value {
    let schema = match schema {
        Some(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
        None if kind == TEXT => json!({ "type": "string" }),
        None => json!({ "type": "object" }),
    };
    json!({ kind: { "schema": schema } })
}
