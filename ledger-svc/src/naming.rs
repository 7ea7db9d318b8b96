//! How accounts, currencies and whatever people name may be called: rules of codes and of lines of text.

use thiserror::Error;

/// Longest account code in bytes.
pub const CODE_BYTES_MAX: usize = 128;

/// A name that breaks its rule; the message says the rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error(
        "account code {0:?} is not valid: write parts of small letters, digits, \"-\" and \"_\", each beginning with a letter or digit, joined by \":\", such as \"assets:cash:eur\""
    )]
    Code(String),
    #[error("account code is longer than {CODE_BYTES_MAX} bytes")]
    CodeTooLong,
    #[error("{what} is {found} characters long, more than {max}")]
    TextTooLong { what: &'static str, found: usize, max: usize },
    #[error("{what} is empty")]
    TextEmpty { what: &'static str },
    #[error("{what} contains a control character (U+{found:04X})")]
    TextControl { what: &'static str, found: u32 },
    #[error(
        "currency code {0:?} is not valid: write 3 to 12 capital letters and digits, a letter first, such as \"EUR\""
    )]
    Currency(String),
}

/// Checks a currency's code.
pub fn validate_currency(code: &str) -> Result<(), NameError> {
    let bytes = code.as_bytes();
    let shaped = (3..=12).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if shaped { Ok(()) } else { Err(NameError::Currency(excerpt(code))) }
}

/// Checks an account code.
pub fn validate_code(code: &str) -> Result<(), NameError> {
    if code.len() > CODE_BYTES_MAX {
        return Err(NameError::CodeTooLong);
    }
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part_is_valid = |part: &str| {
        part.bytes().next().is_some_and(small)
            && part.bytes().all(|b| small(b) || b == b'-' || b == b'_')
    };
    if code.split(':').all(part_is_valid) { Ok(()) } else { Err(NameError::Code(excerpt(code))) }
}

/// Checks a line of text a person reads: bounded, and without control characters, which would
/// otherwise travel into statements, CSV files and terminals.
pub fn validate_text(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    let found = text.chars().count();
    if found > max {
        return Err(NameError::TextTooLong { what, found, max });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(NameError::TextControl { what, found: u32::from(c) }),
        None => Ok(()),
    }
}

/// The beginning of a text that is quoted in a message.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_codes() {
        for good in ["cash", "assets:cash:eur", "a1:b-2:c_3", "0"] {
            assert_eq!(validate_code(good), Ok(()), "{good}");
        }
        let long = "a".repeat(CODE_BYTES_MAX + 1);
        for bad in ["", ":", "a:", ":a", "a::b", "A", "a b", "ä", "-a", "a:_b", "a/b", "a\n", &long]
        {
            assert!(validate_code(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn currency_codes() {
        for good in ["EUR", "USDT", "P01NTS", "ABCDEFGHIJKL"] {
            assert_eq!(validate_currency(good), Ok(()), "{good}");
        }
        for bad in ["", "EU", "eur", "1EU", "EU R", "ÄÖÜ", "ABCDEFGHIJKLM"] {
            assert!(validate_currency(bad).is_err(), "{bad:?}");
        }
    }
}
