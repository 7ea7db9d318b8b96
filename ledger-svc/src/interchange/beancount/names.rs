//! Accounts have codes here and names in beancount: `assets:cash:eur` and `Assets:Cash:Eur`.

use std::collections::HashMap;

use super::super::own::Unwritable;
use crate::account::{AccountBody, Side};

const ROOTS: [&str; 5] = ["Assets", "Liabilities", "Equity", "Income", "Expenses"];

/// Which account is called what.
#[derive(Debug, Default)]
pub struct Names {
    codes: HashMap<String, String>,
    names: HashMap<String, String>,
}

impl Names {
    /// Takes a name with its code; says why it cannot.
    pub fn add(&mut self, name: &str, code: &str) -> Result<(), String> {
        crate::naming::validate_code(code).map_err(|error| {
            format!("{error}; give {name} a code of its own: forebay-code: \"assets:cash\"")
        })?;
        if let Some(other) = self.names.get(code) {
            return Err(format!(
                "{name} and {other} would both be the account {code}; give one of them a forebay-code"
            ));
        }
        if self.codes.insert(name.to_owned(), code.to_owned()).is_some() {
            return Err(format!("{name} is opened twice"));
        }
        self.names.insert(code.to_owned(), name.to_owned());
        Ok(())
    }

    /// The code of a name that was opened, or of one that says its code.
    pub fn code(&self, name: &str) -> Result<String, String> {
        if let Some(code) = self.codes.get(name) {
            return Ok(code.clone());
        }
        let is_name = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(':');
        if !is_name {
            let name: String = name.chars().take(64).collect();
            return Err(format!("{name:?} is neither an account nor metadata"));
        }
        let code = name.to_ascii_lowercase();
        crate::naming::validate_code(&code).map_err(|error| error.to_string())?;
        match self.names.get(&code) {
            Some(other) => Err(format!("{name} would be the account of {other}")),
            None => Ok(code),
        }
    }

    /// A name for an account, which no other has.
    pub fn give(&mut self, account: &AccountBody) -> String {
        let plain = of(account);
        let mut name = plain.clone();
        for number in 2.. {
            if !self.codes.contains_key(&name) {
                break;
            }
            name = format!("{plain}-{number}");
        }
        self.codes.insert(name.clone(), account.code.clone());
        self.names.insert(account.code.clone(), name.clone());
        name
    }

    pub fn name(&self, code: &str) -> Result<&str, Unwritable> {
        let name = self.names.get(code).map(String::as_str);
        name.ok_or_else(|| Unwritable(format!("there is no account {code}")))
    }
}

/// The name that a code suggests: beancount knows five roots, and parts that begin with a capital or a digit.
fn of(account: &AccountBody) -> String {
    let parts: Vec<String> = account
        .code
        .split(':')
        .map(|part| {
            let mut part = part.replace('_', "-");
            if let Some(first) = part.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            part
        })
        .collect();
    let rooted =
        parts.len() > 1 && parts.first().is_some_and(|root| ROOTS.contains(&root.as_str()));
    let joined = parts.join(":");
    match (rooted, account.normal_balance) {
        (true, _) => joined,
        (false, Side::Debit) => format!("Assets:{joined}"),
        (false, Side::Credit) => format!("Liabilities:{joined}"),
    }
}
