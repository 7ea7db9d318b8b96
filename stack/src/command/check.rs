//! `forebay check`: tells every problem of an environment file at its place.

use super::{Check, Failure, Output, say};
use crate::validate;

pub(super) fn run(asked: &Check) -> Result<(), Failure> {
    let path = asked.file.path()?;
    let name = path.display();
    match (validate::environment(&path), asked.output) {
        (Ok(environment), Output::Text) => {
            let routes = environment.proxy.routes.len();
            let streams = environment.streams.len();
            let accounts = environment.ledger.map_or(0, |ledger| ledger.accounts.len());
            say(&format!(
                "{name} is fine: environment {}; routes: {routes}, streams: {streams}, accounts: {accounts}",
                environment.name
            ));
            Ok(())
        }
        (Ok(environment), Output::Json) => {
            let told = serde_json::json!({ "ok": true, "name": environment.name, "problems": [] });
            say(&told.to_string());
            Ok(())
        }
        (Err(problems), Output::Text) => Err(problems.into()),
        (Err(problems), Output::Json) => {
            let mut told = problems.to_json();
            told["ok"] = false.into();
            say(&told.to_string());
            Err(Failure::ToldDocument)
        }
    }
}
