//! Amounts as ledger-cli writes them: `12.34 EUR`, `EUR 12.34`, `-EUR12.34`, `12.34 "EUR"`.

use std::collections::BTreeSet;

use super::super::legs::signed_amount;
use crate::account::Side;
use crate::money::Amount;

/// What a text has said so far of how its numbers are written. A comma before three digits separates thousands for
/// ledger-cli and decimals for hledger, unless it says so.
#[derive(Debug, Default)]
pub struct Marks {
    /// Currencies whose decimals stand behind a point.
    points: BTreeSet<String>,
    /// Those of all currencies do.
    all: bool,
}

impl Marks {
    /// Takes up how amounts of a currency are written: `1,000.00 EUR`. A currency alone says nothing of that.
    pub fn format(&mut self, text: &str) -> Result<(), String> {
        let text = text.split(';').next().unwrap_or_default().trim();
        let (unquoted, quoted) = match text.split('"').collect::<Vec<_>>()[..] {
            [before, quoted, behind] => (format!("{before} {behind}"), Some(quoted)),
            _ => (text.to_owned(), None),
        };
        let is_mark = |c: char| ".,".contains(c);
        let is_number = |c: char| c.is_ascii_digit() || is_mark(c);
        let (Some(first), Some(last)) = (unquoted.find(is_number), unquoted.rfind(is_number))
        else {
            return Ok(());
        };
        let number = &unquoted[first..=last];
        match number.rfind(is_mark).map(|place| number.split_at(place)) {
            None => return Ok(()),
            Some((whole, decimals)) if decimals.starts_with('.') && !whole.contains('.') => {}
            Some(_) => return Err(decimal_comma(number)),
        }
        let beside = [&unquoted[..first], &unquoted[last + 1..]].concat();
        self.points.insert(quoted.unwrap_or(beside.trim()).to_owned());
        Ok(())
    }

    /// Takes up the mark before all decimals.
    pub fn decimal_mark(&mut self, text: &str) -> Result<(), String> {
        match text.split(';').next().unwrap_or_default().trim() {
            "." => {
                self.all = true;
                Ok(())
            }
            "," => Err(decimal_comma(",")),
            _ => Err("a decimal mark is a point or a comma".into()),
        }
    }

    fn check(&self, number: &str, currency: &str) -> Result<(), String> {
        let commas = number.split(',').collect::<Vec<_>>();
        let is_both = matches!(commas[..], [_, behind] if behind.len() == 3);
        if is_both && !self.all && !self.points.contains(currency) {
            return Err(format!(
                "{number} is {} to ledger-cli and {} to hledger; write one of them, or above it: commodity 1,000.00 {currency}",
                commas.concat(),
                commas.join(".")
            ));
        }
        Ok(())
    }
}

fn decimal_comma(found: &str) -> String {
    format!("decimals stand behind a point here, not behind a comma ({found}); write 1,000.00")
}

/// Side, amount and currency; nothing when there is none.
pub fn amount(text: &str, marks: &Marks) -> Result<Option<(Side, Amount, String)>, String> {
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
    marks.check(number.trim_start_matches(['-', '+']), currency)?;
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
            let (side, amount, currency) = amount(text, &Marks::default()).unwrap().unwrap();
            assert_eq!(
                (side, amount.to_string().as_str(), currency.as_str()),
                (Side::Credit, "12.34", "EUR"),
                "{text}"
            );
        }
        assert_eq!(amount("", &Marks::default()), Ok(None));
        for bad in ["12", "$12", "--1 EUR", "1 EUR @ 2", "EUR", "1 A B"] {
            assert!(amount(bad, &Marks::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_comma_means_what_the_text_says_it_means() {
        let told = |text: &str, marks: &Marks| {
            amount(text, marks).map(|read| read.unwrap().1.to_string()).map_err(|_| ())
        };
        let unsaid = Marks::default();
        for (text, expected) in [
            ("1,500 KWD", Err(())),
            ("KWD -1,500", Err(())),
            ("12,50 KWD", Err(())),
            ("1,500.00 KWD", Ok("1500.00")),
            ("1,500,000 KWD", Ok("1500000")),
            ("1.500 KWD", Ok("1.500")),
        ] {
            assert_eq!(told(text, &unsaid), expected.map(str::to_owned), "{text}");
        }
        for format in ["1,000.000 KWD", "KWD 1,000.000 ; mine", "\"KWD\" 1000.", "1 000.00 KWD"] {
            let mut marks = Marks::default();
            marks.format(format).unwrap();
            assert_eq!(told("1,500 KWD", &marks), Ok("1500".into()), "{format}");
            assert_eq!(told("1,500 EUR", &marks), Err(()), "{format}");
        }
        for format in ["1.000,000 KWD", "KWD 1 000,00", "1,000 KWD", "1.000.000 KWD"] {
            assert!(Marks::default().format(format).is_err(), "{format}");
        }
        for says_nothing in ["KWD", "\"P01NTS\"", "1000 KWD"] {
            let mut marks = Marks::default();
            marks.format(says_nothing).unwrap();
            assert_eq!(told("1,500 KWD", &marks), Err(()), "{says_nothing}");
        }
        let mut marks = Marks::default();
        assert!(marks.decimal_mark(",").is_err() && marks.decimal_mark(".").is_ok());
        assert_eq!(told("1,500 EUR", &marks), Ok("1500".into()));
    }
}
