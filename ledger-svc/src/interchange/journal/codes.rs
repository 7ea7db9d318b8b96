//! Accounts have codes here and names in a journal: `assets:cash` and `Assets:Cash`. Names are told apart by every letter
//! there, so no two of them are one account.

use std::collections::HashMap;

use crate::naming::validate_code;

/// Which account is called what.
#[derive(Debug, Default)]
pub struct Codes {
    codes: HashMap<String, String>,
    names: HashMap<String, String>,
}

impl Codes {
    /// Takes a name with the code that a directive gives it.
    pub fn declare(&mut self, name: &str, code: &str) -> Result<(), String> {
        if let Some(other) = self.names.get(code).filter(|other| *other != name) {
            return Err(format!(
                "{name} and {other} would both be the account {code}; spell them alike, or give one of them a code: account {name}, and below it ; forebay-code: assets:cash"
            ));
        }
        if let Some(used) = self.codes.get(name).filter(|used| *used != code) {
            return Err(format!(
                "{name} is the account {used} above; declare it before it is used"
            ));
        }
        self.codes.insert(name.to_owned(), code.to_owned());
        self.names.insert(code.to_owned(), name.to_owned());
        Ok(())
    }

    /// The code of a name: the one declared, or the one that follows from it.
    pub fn code(&mut self, name: &str) -> Result<String, String> {
        if let Some(code) = self.codes.get(name) {
            return Ok(code.clone());
        }
        let code = name.to_ascii_lowercase();
        validate_code(&code).map_err(|error| {
            format!(
                "{error}; or declare it: account {name}, and below it ; forebay-code: assets:cash"
            )
        })?;
        self.declare(name, &code)?;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_one_account() {
        let mut codes = Codes::default();
        assert_eq!(codes.code("Assets:Bank"), Ok("assets:bank".into()));
        assert_eq!(codes.code("Assets:Bank"), Ok("assets:bank".into()));
        let told = codes.code("ASSETS:bank").unwrap_err();
        assert!(told.contains("ASSETS:bank and Assets:Bank would both be"), "{told}");
        codes.declare("ASSETS:bank", "assets:other").unwrap();
        assert_eq!(codes.code("ASSETS:bank"), Ok("assets:other".into()));
        assert!(codes.declare("Assets:Other", "assets:other").is_err());
        assert!(codes.declare("Assets:Bank", "assets:second").is_err(), "it is in use");
    }
}
