//! Creates the currencies and accounts an environment asks for, where the ledger lacks them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::{Account, Ledger};
use crate::http::{self, Answer};

const TIMEOUT: Duration = Duration::from_secs(5);

/// What seeding did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Accounts created by this call.
    pub created: usize,
    /// What the ledger holds otherwise than the environment says, one line each.
    pub differences: Vec<String>,
}

/// Creates what is missing through the API at `base` (`http://…/v1`). Blocks. The error is a
/// ledger that does not answer, and may be tried again; a refusal is a difference, and told.
pub fn seed(base: &str, ledger: &Ledger) -> Result<Seeded, String> {
    let mut seeded = Seeded::default();
    for currency in &ledger.currencies {
        let body = json!({ "code": currency.code, "scale": currency.scale });
        let answer = asked(http::post(&format!("{base}/currencies"), &body, TIMEOUT))?;
        if !is_there(answer.status) {
            seeded.differences.push(refusal("currency", &currency.code, &answer));
        }
    }
    for account in &ledger.accounts {
        let url = format!("{base}/accounts/{}", account.code);
        let existing = asked(http::get(&url, TIMEOUT))?;
        if existing.status == 200 {
            seeded.differences.extend(difference(account, &existing.body));
            continue;
        }
        let body = json!({
            "code": account.code,
            "name": account.name,
            "currency": account.currency,
            "normal_balance": account.normal_balance.word(),
        });
        let answer = asked(http::post(&format!("{base}/accounts"), &body, TIMEOUT))?;
        match answer.status {
            200 | 201 => seeded.created += 1,
            _ => seeded.differences.push(refusal("account", &account.code, &answer)),
        }
    }
    Ok(seeded)
}

fn asked(answer: Result<Answer, ureq::Error>) -> Result<Answer, String> {
    match answer {
        Ok(answer) if answer.status >= 500 => {
            Err(format!("the ledger answers {}: {}", answer.status, answer.body))
        }
        Ok(answer) => Ok(answer),
        Err(error) => Err(format!("the ledger does not answer: {error}")),
    }
}

/// Created now, or there before.
fn is_there(status: u16) -> bool {
    matches!(status, 200 | 201 | 409)
}

fn refusal(what: &str, code: &str, answer: &Answer) -> String {
    let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let detail = told["detail"].as_str().unwrap_or(&answer.body);
    format!("the ledger refuses {what} {code} ({}): {detail}", answer.status)
}

/// What an existing account holds otherwise; its name is only a label and may differ.
fn difference(account: &Account, body: &str) -> Option<String> {
    let there: Value = serde_json::from_str(body).ok()?;
    let wanted = (account.currency.as_str(), account.normal_balance.word());
    let found = (there["currency"].as_str()?, there["normal_balance"].as_str()?);
    (wanted != found).then(|| {
        format!(
            "account {} is {} with normal balance {} in the ledger, {} and {} in the environment; \
             it stays as it is, because accounts never change",
            account.code, found.0, found.1, wanted.0, wanted.1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::NormalBalance;

    #[test]
    fn an_account_that_differs_is_told() {
        let account = Account {
            code: "assets:cash:eur".to_owned(),
            name: "Cash".to_owned(),
            currency: "EUR".to_owned(),
            normal_balance: NormalBalance::Debit,
        };
        let same =
            r#"{"code":"assets:cash:eur","name":"Till","currency":"EUR","normal_balance":"debit"}"#;
        assert_eq!(difference(&account, same), None);
        let other =
            r#"{"code":"assets:cash:eur","name":"Cash","currency":"USD","normal_balance":"debit"}"#;
        assert!(difference(&account, other).unwrap().contains("USD"));
    }

    #[test]
    fn a_refusal_quotes_the_ledger() {
        let answer = Answer { status: 422, body: r#"{"detail":"no such currency"}"#.to_owned() };
        let text = refusal("account", "assets:x", &answer);
        assert_eq!(text, "the ledger refuses account assets:x (422): no such currency");
    }
}
