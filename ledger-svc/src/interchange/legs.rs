//! Legs as plain-text accounting writes them: amounts are signed, accounts are named by what they are, and one amount may be
//! left out.

use super::document::Leg;
use super::fault::Found;
use crate::account::Side;
use crate::money::Amount;

pub const TOO_FEW: &str = "a transfer needs at least two entries";

/// A leg whose amount may be missing.
pub struct Open {
    pub line: usize,
    pub account: String,
    pub amount: Option<(Side, Amount, String)>,
}

/// A signed decimal, `-1,234.50`, as side and amount. Positive is a debit, as everywhere in plain-text accounting.
pub fn signed_amount(text: &str) -> Result<(Side, Amount), String> {
    let (direction, digits) = match text.strip_prefix('-') {
        Some(digits) => (Side::Credit, digits),
        None => (Side::Debit, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = without_separators(digits).ok_or_else(|| {
        format!("{text:?} is no amount; write digits, a point before decimals, a comma at most before each three digits")
    })?;
    plain
        .parse()
        .map(|amount| (direction, amount))
        .map_err(|error: crate::money::AmountError| error.to_string())
}

/// Digits without the commas before each three of them; nothing when there are others.
fn without_separators(digits: &str) -> Option<String> {
    let whole = digits.split('.').next().unwrap_or_default();
    if !whole.contains(',') {
        return Some(digits.to_owned());
    }
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    grouped.then(|| digits.replace(',', ""))
}

/// The side on which an account grows whose name begins so.
pub fn usual_side(name: &str) -> Option<Side> {
    match name.split(':').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "assets" | "expenses" => Some(Side::Debit),
        "liabilities" | "equity" | "income" | "revenue" | "revenues" => Some(Side::Credit),
        _ => None,
    }
}

/// One leg may go without an amount: it takes what the others leave, if that is one amount.
pub fn complete(legs: Vec<Open>, found: &mut Found) -> Vec<Leg> {
    let mut sums: std::collections::BTreeMap<String, rust_decimal::Decimal> = Default::default();
    for leg in &legs {
        let Some((direction, amount, currency)) = &leg.amount else { continue };
        let signed = match direction {
            Side::Debit => amount.decimal(),
            Side::Credit => -amount.decimal(),
        };
        let sum = sums.entry(currency.clone()).or_default();
        match sum.checked_add(signed) {
            Some(added) => *sum = added,
            None => found.at(leg.line, "the amounts are too large to be added up"),
        }
    }
    let mut rest = sums.into_iter().filter(|(_, sum)| !sum.is_zero());
    let (rest, more) = (rest.next(), rest.next().is_some());
    let open = legs.iter().filter(|leg| leg.amount.is_none()).count();
    let mut complete = Vec::with_capacity(legs.len());
    for Open { line: at, account, amount } in legs {
        let taken = match (amount, &rest) {
            (Some(amount), _) => amount,
            (None, Some((currency, sum))) if open == 1 && !more => {
                let direction = if sum.is_sign_negative() { Side::Debit } else { Side::Credit };
                match sum.abs().to_string().parse() {
                    Ok(amount) => (direction, amount, currency.clone()),
                    Err(error) => {
                        found.at(at, format!("what is left is no amount: {error}"));
                        continue;
                    }
                }
            }
            _ => {
                found.at(at, "an amount is missing, and the other lines do not leave exactly one");
                continue;
            }
        };
        let (direction, amount, currency) = taken;
        complete.push(Leg { line: at, account, direction, amount, currency });
    }
    complete
}
