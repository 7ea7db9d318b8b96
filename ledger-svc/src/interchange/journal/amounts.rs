//! Amounts as ledger-cli writes them: `12.34 EUR`, `EUR 12.34`, `-EUR12.34`, `12.34 "EUR"`.

use crate::account::Side;
use crate::interchange::signed_amount;
use crate::money::Amount;

/// Side, amount and currency; nothing when there is none.
pub fn amount(text: &str) -> Result<Option<(Side, Amount, String)>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(['@', '=', '{', '(']) {
        return Err(format!(
            "an entry here has no price, cost, assertion or formula ({text}); exchange is booked as entries in both currencies"
        ));
    }
    let is_number = |c: char| c.is_ascii_digit() || ".,-+".contains(c);
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", text),
    };
    let (number, currency) = if unsigned.starts_with(is_number) {
        let end = unsigned.find(|c| !is_number(c)).unwrap_or(unsigned.len());
        (&unsigned[..end], unsigned[end..].trim())
    } else if let Some(quoted) = unsigned.strip_prefix('"') {
        let (currency, number) = quoted.split_once('"').ok_or("a currency's quote has no end")?;
        (number.trim(), currency)
    } else {
        let end = unsigned.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unsigned.len());
        (unsigned[end..].trim(), &unsigned[..end])
    };
    let currency = currency.trim_matches('"');
    if currency.is_empty() {
        return Err(format!(
            "{text:?} is an amount of no currency this ledger knows; write 12.34 EUR"
        ));
    }
    if currency.contains(char::is_whitespace) {
        return Err(format!("{text:?} is not an amount and a currency"));
    }
    let (direction, amount) = signed_amount(&format!("{sign}{number}"))?;
    Ok(Some((direction, amount, currency.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_stands_before_or_behind() {
        for text in [
            "-12.34 EUR",
            "EUR -12.34",
            "-EUR 12.34",
            "-EUR12.34",
            "-12.34 \"EUR\"",
            "\"EUR\" -12.34",
            "-12.34EUR",
        ] {
            let (side, amount, currency) = amount(text).unwrap().unwrap();
            assert_eq!(
                (side, amount.to_string().as_str(), currency.as_str()),
                (Side::Credit, "12.34", "EUR"),
                "{text}"
            );
        }
        assert_eq!(amount(""), Ok(None));
        for bad in ["12", "$12", "--1 EUR", "1 EUR @ 2", "EUR", "1 A B"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}
