//! Which role may do which operation: one table, read by whoever asks for a key and by the documentation. An operation
//! that is not in it is an administrator's alone.

use std::collections::HashMap;

use http::Method;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use crate::key::Role;

/// The pages, which read the books, and so need a role that may.
pub const PAGES: [&str; 4] = ["/", "/accounts/{code}", "/trial-balance", "/reconciliation/{code}"];
/// What the pages look like is no secret.
pub const STYLE: &str = "/style.css";

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Looks at the books.
    Read,
    /// Adds to the books.
    Post,
    /// Looks at keys, at what administrators did, and at everything at once.
    Audit,
    Administer,
}

use Permission::{Administer, Audit, Post, Read};

/// Every operation of the OpenAPI document.
pub const OPERATIONS: &[(&str, Permission)] = &[
    ("createCurrency", Administer),
    ("listCurrencies", Read),
    ("createAccount", Post),
    ("listAccounts", Read),
    ("getAccount", Read),
    ("getBalance", Read),
    ("listEntries", Read),
    ("getStatement", Read),
    ("getStatementCsv", Read),
    ("getLimits", Read),
    ("setLimits", Administer),
    ("createTransfer", Post),
    ("createBatch", Post),
    ("streamBatch", Post),
    ("createImport", Post),
    ("postTransfer", Post),
    ("voidTransfer", Post),
    ("reverseTransfer", Post),
    ("listTransfers", Read),
    ("getTransfer", Read),
    ("getTrialBalance", Read),
    ("getTrialBalanceAsOf", Read),
    ("getBalanceAsOf", Read),
    ("listJournal", Read),
    ("exportEntries", Audit),
    ("exportAccounts", Audit),
    ("exportBeancount", Audit),
    ("exportLedger", Audit),
    ("createClose", Administer),
    ("listCloses", Read),
    ("getClose", Read),
    ("listCloseBalances", Read),
    ("createAccountSet", Post),
    ("listAccountSets", Read),
    ("getAccountSet", Read),
    ("addMembers", Post),
    ("listMembers", Read),
    ("getAccountTree", Read),
    ("getHead", Read),
    ("listSignatures", Read),
    ("importStatement", Post),
    ("listStatements", Read),
    ("withdrawStatement", Post),
    ("listOpenLines", Read),
    ("listUnmatchedEntries", Read),
    ("getReconciliation", Read),
    ("runReconciliation", Post),
    ("createMatch", Post),
    ("listMatches", Read),
    ("createAdjustment", Post),
    ("removeMatch", Post),
    ("createKey", Administer),
    ("listKeys", Audit),
    ("getKey", Audit),
    ("revokeKey", Administer),
    ("listAuditLog", Audit),
    ("streamEvents", Read),
    ("createWebhook", Administer),
    ("listWebhooks", Audit),
    ("getWebhook", Audit),
    ("removeWebhook", Administer),
    ("resumeWebhook", Administer),
];

impl Permission {
    /// Whether a role has it.
    pub fn is_given_to(self, role: Role) -> bool {
        match role {
            Role::Reader => self == Read,
            Role::Poster => matches!(self, Read | Post),
            Role::Auditor => matches!(self, Read | Audit),
            Role::Admin => true,
        }
    }

    /// The roles that have it, for people.
    pub fn roles(self) -> String {
        let roles = Role::ALL.into_iter().filter(|role| self.is_given_to(*role));
        roles.map(Role::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// What the operation needs.
pub fn needed(operation_id: &str) -> Permission {
    let row = OPERATIONS.iter().find(|(id, _)| *id == operation_id);
    row.map_or(Administer, |(_, permission)| *permission)
}

/// What is known of an operation before it is asked.
#[derive(Clone, Copy, Debug)]
struct Row {
    needed: Permission,
    /// Whether it has a parameter in the query; one that has judges them itself.
    has_query: bool,
}

/// The same by method and path, as requests are.
#[derive(Debug)]
pub struct Table(HashMap<(Method, String), Row>);

impl Table {
    pub fn of(document: &OpenApi) -> Self {
        let mut table = HashMap::new();
        for (path, item) in &document.paths.paths {
            let mut add = |method: Method, operation: &Option<Operation>| {
                if let Some(operation) = operation {
                    let id = operation.operation_id.as_deref().unwrap_or_default();
                    let row = Row { needed: needed(id), has_query: has_query(operation) };
                    table.insert((method, path.clone()), row);
                }
            };
            add(Method::GET, &item.get);
            add(Method::POST, &item.post);
            add(Method::PUT, &item.put);
        }
        let page = Row { needed: Read, has_query: true };
        table.extend(PAGES.map(|path| ((Method::GET, path.to_owned()), page)));
        Self(table)
    }

    fn row(&self, method: &Method, path: &str) -> Option<Row> {
        // What answers GET answers HEAD.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, path.to_owned())).copied()
    }

    /// Whether there is such an operation.
    pub fn knows(&self, method: &Method, path: &str) -> bool {
        self.row(method, path).is_some()
    }

    /// Whether it is an operation that has no parameter in the query.
    pub fn takes_no_query(&self, method: &Method, path: &str) -> bool {
        self.row(method, path).is_some_and(|row| !row.has_query)
    }

    /// What a request needs; nothing where nobody is asked for a key. `path` is the route's template.
    pub fn needed(&self, method: &Method, path: &str) -> Option<Permission> {
        if [STYLE, "/openapi.json", "/docs"].contains(&path) || path.starts_with("/docs/") {
            return None;
        }
        Some(self.row(method, path).map_or(Administer, |row| row.needed))
    }
}

fn has_query(operation: &Operation) -> bool {
    operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::document;

    #[test]
    fn every_operation_is_in_the_table_once_and_nothing_else() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|item| item.as_object().unwrap().values());
        let mut documented: Vec<&str> =
            operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let mut listed: Vec<&str> = OPERATIONS.iter().map(|(id, _)| *id).collect();
        documented.sort_unstable();
        listed.sort_unstable();
        assert_eq!(documented, listed, "a new operation needs a permission");
    }

    #[test]
    fn what_nobody_thought_of_is_an_administrators() {
        let table = Table::of(&document());
        let needed = |method, path: &str| table.needed(&method, path);
        assert_eq!(needed(Method::GET, "/v1/accounts"), Some(Read));
        assert_eq!(needed(Method::HEAD, "/v1/accounts"), Some(Read));
        assert_eq!(needed(Method::DELETE, "/v1/accounts"), Some(Administer));
        assert_eq!(needed(Method::GET, "/v1/new"), Some(Administer));
        assert_eq!(needed(Method::GET, "/"), Some(Read));
        assert_eq!(needed(Method::GET, "/style.css"), None);
        assert_eq!(needed(Method::GET, "/docs/{*rest}"), None);
        assert_eq!(needed(Method::GET, "/docsx"), Some(Administer));
    }

    #[test]
    fn what_has_parameters_is_known() {
        let table = Table::of(&document());
        let none = |method, path: &str| table.takes_no_query(&method, path);
        assert!(none(Method::POST, "/v1/transfers") && !none(Method::GET, "/v1/transfers"));
        assert!(none(Method::GET, "/v1/accounts/{code}/balance"));
        assert!(none(Method::HEAD, "/v1/accounts/{code}"));
        assert!(!none(Method::GET, "/") && !none(Method::GET, "/docs/{*rest}"));
    }

    #[test]
    fn roles_are_told() {
        assert_eq!(Read.roles(), "reader, poster, auditor, admin");
        assert_eq!(Post.roles(), "poster, admin");
        assert_eq!(Audit.roles(), "auditor, admin");
        assert_eq!(Administer.roles(), "admin");
    }
}
