//! Money: an exact decimal at the edges, integer minor units inside.
//!
//! `Amount` is what a person or a program writes ("12.34"); the database and the posting hold
//! minor units (1234). The currency's scale joins the two, and nothing here ever rounds.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::{self, Deserializer, Visitor};
use thiserror::Error;

/// The longest text accepted as an amount; an `i64` of minor units needs 20 characters.
const TEXT_BYTES_MAX: usize = 40;

/// Currencies with more decimals than this would leave too little room in 64 bits:
/// at scale 12 an account still holds nine million whole units.
pub const SCALE_MAX: u8 = 12;

/// A currency code and its scale (the number of decimals), copied around with every balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    /// ISO 4217 code, or one of your own: `EUR`, `POINTS`.
    pub code: String,
    /// Number of decimals: 2 for `EUR`, 0 for `JPY`, 3 for `KWD`.
    pub scale: u8,
}

/// Why a text is not an amount. Says what was read and what would be accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AmountError {
    #[error("amount is empty; write a decimal number such as \"12.34\"")]
    Empty,
    #[error("amount is longer than {TEXT_BYTES_MAX} characters")]
    TooLong,
    #[error(
        "amount {0:?} is not a plain decimal number; write digits with an optional point, such as \"12.34\" (no sign, exponent, spaces, separators or leading zeros)"
    )]
    Malformed(String),
    #[error("amount {0:?} is negative; amounts are positive, the direction says which side")]
    Negative(String),
    #[error("amount {0:?} is zero; an entry moves a positive amount")]
    Zero(String),
    #[error("amount {0:?} has more digits than can be held exactly")]
    TooManyDigits(String),
    #[error(
        "amount {amount:?} has {found} decimals, but {currency} has a scale of {scale}: write at most {scale} decimals"
    )]
    TooManyDecimals { amount: String, found: u32, currency: String, scale: u8 },
    #[error(
        "amount {amount:?} {currency} would overflow: it exceeds {} {currency}",
        format_minor(i128::from(i64::MAX), *scale)
    )]
    Overflow { amount: String, currency: String, scale: u8 },
}

/// A positive, exact amount as written. Its decimals are kept: "1.50" has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount(Decimal);

impl Amount {
    /// The amount in minor units of `currency`; never rounds, never wraps.
    pub fn to_minor(self, currency: &Currency) -> Result<i64, AmountError> {
        let found = self.0.scale();
        let Some(missing) = u32::from(currency.scale).checked_sub(found) else {
            return Err(AmountError::TooManyDecimals {
                amount: self.to_string(),
                found,
                currency: currency.code.clone(),
                scale: currency.scale,
            });
        };
        10_i128
            .checked_pow(missing)
            .and_then(|factor| self.0.mantissa().checked_mul(factor))
            .and_then(|minor| i64::try_from(minor).ok())
            .ok_or_else(|| AmountError::Overflow {
                amount: self.to_string(),
                currency: currency.code.clone(),
                scale: currency.scale,
            })
    }

    /// As the decimal library has it.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// How many decimals it was written with.
    pub fn decimals(self) -> u32 {
        self.0.scale()
    }

    /// Its digits as a whole number, and how many of them are decimals.
    pub fn parts(self) -> (i128, u32) {
        (self.0.mantissa(), self.0.scale())
    }

    /// The same value written without trailing zeros, so that "1.50" and "1.5" read alike.
    pub fn canonical(self) -> String {
        self.0.normalize().to_string()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(AmountError::TooLong);
        }
        if let Some(rest) = text.strip_prefix('-')
            && is_plain_decimal(rest)
        {
            return Err(AmountError::Negative(text.to_owned()));
        }
        if !is_plain_decimal(text) {
            return Err(AmountError::Malformed(text.to_owned()));
        }
        let value = Decimal::from_str_exact(text)
            .map_err(|_| AmountError::TooManyDigits(text.to_owned()))?;
        if value.is_zero() {
            return Err(AmountError::Zero(text.to_owned()));
        }
        Ok(Self(value))
    }
}

/// A decimal that may be zero or negative, in minor units of `currency`: what limits are written in.
pub fn signed_minor(text: &str, currency: &Currency) -> Result<i64, AmountError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() > TEXT_BYTES_MAX {
        return Err(AmountError::TooLong);
    }
    if !is_plain_decimal(digits) {
        return Err(AmountError::Malformed(text.to_owned()));
    }
    let value =
        Decimal::from_str_exact(digits).map_err(|_| AmountError::TooManyDigits(text.to_owned()))?;
    let minor = Amount(value).to_minor(currency)?;
    Ok(if digits.len() < text.len() { -minor } else { minor })
}

/// `0` or digits without a leading zero, then optionally a point and at least one digit. The
/// decimal library also takes `_`, `+`, `.5` and `5.`, which a ledger should not have to guess at.
fn is_plain_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits)
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as a JSON string such as \"12.34\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                Err(E::custom(number_refused(number)))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Amount, E> {
                Err(E::custom(number_refused(number)))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
                Err(E::custom(number_refused(number)))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

fn number_refused(number: impl fmt::Display) -> String {
    format!(
        "amount {number} is a JSON number; write it as a string (\"{number}\"), because many JSON libraries round numbers"
    )
}

/// Minor units as a decimal with exactly `scale` decimals: `(-5, 2)` is `-0.05`. Takes any `i128`,
/// so totals over many accounts are exact too.
pub fn format_minor(minor: i128, scale: u8) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(scale: u8) -> Currency {
        Currency { code: "TST".into(), scale }
    }

    #[test]
    fn bad_texts_are_refused_with_their_reason() {
        let cases = [
            ("", "empty"),
            ("-1.00", "negative"),
            ("0", "zero"),
            ("0.00", "zero"),
            ("+1", "plain decimal"),
            ("1e3", "plain decimal"),
            ("1_000", "plain decimal"),
            ("1,000.00", "plain decimal"),
            (" 1", "plain decimal"),
            ("1 ", "plain decimal"),
            (".5", "plain decimal"),
            ("5.", "plain decimal"),
            ("007", "plain decimal"),
            ("--1", "plain decimal"),
            ("1.2.3", "plain decimal"),
            ("NaN", "plain decimal"),
            ("Infinity", "plain decimal"),
            ("٣", "plain decimal"),
            ("0x10", "plain decimal"),
            ("99999999999999999999999999999999", "more digits"),
            ("0.00000000000000000000000000000001", "more digits"),
            ("1111111111111111111111111111111111111111111", "longer than"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<Amount>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn scale_and_range_are_the_currency_s() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(amount("12.34").to_minor(&currency(2)), Ok(1234));
        assert_eq!(amount("12").to_minor(&currency(3)), Ok(12_000));
        assert_eq!(amount("92233720368547758.07").to_minor(&currency(2)), Ok(i64::MAX));
        let over = amount("92233720368547758.08").to_minor(&currency(2)).unwrap_err();
        assert_eq!(
            over.to_string(),
            "amount \"92233720368547758.08\" TST would overflow: it exceeds 92233720368547758.07 TST"
        );
        let fine = amount("1.005").to_minor(&currency(2)).unwrap_err().to_string();
        assert!(fine.contains("3 decimals") && fine.contains("TST has a scale of 2"), "{fine}");
        // Trailing zeros are decimals too: what was written must fit the currency.
        assert!(amount("1.500").to_minor(&currency(2)).is_err());
    }

    #[test]
    fn limits_may_be_zero_or_negative() {
        let cases = [("0", 0), ("-0", 0), ("0.00", 0), ("-500", -50_000), ("12.34", 1234)];
        for (text, minor) in cases {
            assert_eq!(signed_minor(text, &currency(2)), Ok(minor), "{text}");
        }
        for bad in ["", "-", "--1", "+1", "1e3", "0.001", "1_0", "92233720368547758.08"] {
            assert!(signed_minor(bad, &currency(2)).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_in_json_are_refused_and_say_so() {
        for json in ["12.34", "12", "-3", "1e400"] {
            let error = serde_json::from_str::<Amount>(json).expect_err(json).to_string();
            assert!(error.contains("JSON number") || error.contains("out of range"), "{error}");
        }
        for json in ["null", "true", "{}", "[\"1\"]"] {
            let error = serde_json::from_str::<Amount>(json).expect_err(json).to_string();
            assert!(error.contains("as a JSON string"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn minor_units_round_trip(minor in 1..=i64::MAX, scale in 0..=SCALE_MAX) {
            let text = format_minor(i128::from(minor), scale);
            let amount: Amount = text.parse().unwrap();
            prop_assert_eq!(amount.to_string(), text);
            prop_assert_eq!(amount.to_minor(&currency(scale)), Ok(minor));
        }

        #[test]
        fn formatting_agrees_with_the_decimal_library(minor in any::<i64>(), scale in 0..=SCALE_MAX) {
            let decimal = Decimal::from_i128_with_scale(i128::from(minor), u32::from(scale));
            prop_assert_eq!(format_minor(i128::from(minor), scale), decimal.to_string());
        }

        #[test]
        fn any_text_is_answered_and_what_is_taken_is_exact(text in "[-+0-9._e ]{0,45}") {
            if let Ok(amount) = text.parse::<Amount>() {
                prop_assert_eq!(amount.to_string(), text.as_str());
                prop_assert_eq!(amount.canonical().parse::<Amount>().unwrap().canonical(), amount.canonical());
            }
        }
    }
}
