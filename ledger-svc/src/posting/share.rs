//! How an amount is shared out: percentages rounded by rule, the rest by weights, and the remainder where the rule
//! puts it. What comes out always sums to the amount, or nothing does.

use thiserror::Error;

use crate::money::{AmountError, Currency};
use crate::transfer::{Part, Remainder, Rounding, Split};

/// Why an amount cannot be shared so.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ShareError {
    #[error("{field}: {error}")]
    Amount { field: &'static str, error: AmountError },
    #[error("its parts are on accounts of {0} and of {1}; one split has one currency")]
    Currencies(String, String),
    #[error("parts[{part}]: min is more than max")]
    MinAboveMax { part: usize },
    #[error("its parts come to more than its amount")]
    TooMuch,
    #[error("its parts leave something over and none has a weight to take it")]
    Left,
}

/// Each part's minor units, in their order; some may be 0.
pub fn share(split: &Split, currency: &Currency) -> Result<Vec<i64>, ShareError> {
    let amount = |field| move |error| ShareError::Amount { field, error };
    let total = split.amount.to_minor(currency).map_err(amount("amount"))?;
    let mut shares = Vec::with_capacity(split.parts.len());
    let mut left = i128::from(total);
    for (index, part) in split.parts.iter().enumerate() {
        let taken = taken(index, part, total, split.rounding, currency)?;
        left -= i128::from(taken);
        shares.push(taken);
    }
    if left < 0 {
        return Err(ShareError::TooMuch);
    }
    let weights: Vec<(usize, i128)> = (split.parts.iter().enumerate())
        .filter_map(|(index, part)| Some((index, i128::from(part.weighs()?))))
        .collect();
    let all: i128 = weights.iter().map(|(_, weight)| weight).sum();
    if all == 0 {
        return if left == 0 { Ok(shares) } else { Err(ShareError::Left) };
    }
    let mut over = left;
    for (index, weight) in &weights {
        let part = left * weight / all;
        over -= part;
        shares[*index] = minor(part);
    }
    place(&mut shares, &weights, minor(over), split.remainder);
    Ok(shares)
}

/// What was an `i64` before it was divided is one after.
fn minor(part: i128) -> i64 {
    i64::try_from(part).unwrap_or(i64::MAX)
}

fn place(shares: &mut [i64], weights: &[(usize, i128)], over: i64, rule: Remainder) {
    let whole = match rule {
        Remainder::Spread => {
            // Fewer are left than there are parts: each lost less than one.
            let few = usize::try_from(over).unwrap_or(usize::MAX);
            weights.iter().take(few).for_each(|(index, _)| shares[*index] += 1);
            return;
        }
        Remainder::First => weights.first(),
        Remainder::Last => weights.last(),
        Remainder::Largest => weights.iter().rev().max_by_key(|(_, weight)| weight),
    };
    if let Some((index, _)) = whole {
        shares[*index] += over;
    }
}

/// A part that is not shared by weight: `percent` of the whole and `fixed`, within its bounds.
fn taken(
    index: usize,
    part: &Part,
    total: i64,
    rounding: Rounding,
    currency: &Currency,
) -> Result<i64, ShareError> {
    let minor_of = |field, amount: Option<crate::money::Amount>| {
        let minor = amount.map(|amount| amount.to_minor(currency)).transpose();
        minor.map_err(|error| ShareError::Amount { field, error })
    };
    let (min, max) = (minor_of("min", part.min)?, minor_of("max", part.max)?);
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(ShareError::MinAboveMax { part: index });
    }
    let fixed = minor_of("fixed", part.fixed)?.unwrap_or(0);
    if part.percent.is_none() && part.fixed.is_none() {
        return Ok(0);
    }
    let percent = match part.percent {
        None => 0,
        Some(percent) => {
            let (mantissa, decimals) = percent.parts();
            let whole = 10_i128.pow(decimals + 2);
            // A percentage has 29 digits at most and the total 19: what overflows is more than the amount.
            let product = mantissa.checked_mul(i128::from(total)).ok_or(ShareError::TooMuch)?;
            rounded(product, whole, rounding)
        }
    };
    let sum = percent.checked_add(i128::from(fixed)).ok_or(ShareError::TooMuch)?;
    let bounded = sum.max(min.unwrap_or(0).into()).min(max.unwrap_or(i64::MAX).into());
    if bounded > i128::from(total) { Err(ShareError::TooMuch) } else { Ok(minor(bounded)) }
}

/// `product / whole`, both positive.
fn rounded(product: i128, whole: i128, rounding: Rounding) -> i128 {
    let (quotient, rest) = (product / whole, product % whole);
    let up = match rounding {
        Rounding::Down => false,
        Rounding::Up => rest > 0,
        Rounding::HalfUp => rest * 2 >= whole,
        Rounding::HalfEven => rest * 2 > whole || (rest * 2 == whole && quotient % 2 == 1),
    };
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared(json: &str) -> Result<Vec<i64>, String> {
        let split: Split = serde_json::from_str(json).unwrap();
        let currency = Currency { code: "EUR".into(), scale: 2 };
        share(&split, &currency).map_err(|error| error.to_string())
    }

    fn parts(amount: &str, rules: &str, parts: &str) -> Result<Vec<i64>, String> {
        shared(&format!(r#"{{"amount":"{amount}","direction":"credit"{rules},"parts":[{parts}]}}"#))
    }

    #[test]
    fn fees_are_percentages_with_bounds_and_the_rest_goes_to_whom_it_belongs() {
        let fee = r#"{"account":"fee","percent":"2.9","fixed":"0.30"},{"account":"shop"}"#;
        assert_eq!(parts("100.00", "", fee), Ok(vec![320, 9680]));
        let bounded = r#"{"account":"fee","percent":"1","min":"0.50","max":"2"},{"account":"s"}"#;
        assert_eq!(parts("10.00", "", bounded), Ok(vec![50, 950]));
        assert_eq!(parts("1000.00", "", bounded), Ok(vec![200, 99_800]));
    }

    #[test]
    fn percentages_are_rounded_by_rule() {
        let fee = r#"{"account":"f","percent":"2.5"},{"account":"s"}"#;
        for (rule, of_20, of_60, of_21) in
            [("half-even", 0, 2, 1), ("half-up", 1, 2, 1), ("down", 0, 1, 0), ("up", 1, 2, 1)]
        {
            let rules = format!(r#","rounding":"{rule}""#);
            let first = |amount| parts(amount, &rules, fee).unwrap()[0];
            assert_eq!(
                (first("0.20"), first("0.60"), first("0.21")),
                (of_20, of_60, of_21),
                "{rule}"
            );
        }
    }

    #[test]
    fn the_remainder_goes_where_the_rule_says() {
        let three =
            r#"{"account":"a","weight":1},{"account":"b","weight":2},{"account":"c","weight":2}"#;
        for (rule, expected) in [
            ("spread", [3, 4, 4]),
            ("first", [3, 4, 4]),
            ("last", [2, 4, 5]),
            ("largest", [2, 5, 4]),
        ] {
            let found = parts("0.11", &format!(r#","remainder":"{rule}""#), three).unwrap();
            assert_eq!(found, expected, "{rule}");
        }
        let even = r#"{"account":"a"},{"account":"b"},{"account":"c"}"#;
        assert_eq!(parts("1.00", "", even), Ok(vec![34, 33, 33]));
        assert_eq!(parts("0.02", "", even), Ok(vec![1, 1, 0]));
    }

    #[test]
    fn what_does_not_come_out_is_refused() {
        for (amount, split, why) in [
            ("1.00", r#"{"account":"a","percent":"50"}"#, "leave something over"),
            ("1.00", r#"{"account":"a","fixed":"1.01"},{"account":"b"}"#, "more than its amount"),
            (
                "1.00",
                r#"{"account":"a","percent":"60"},{"account":"b","percent":"60"}"#,
                "more than",
            ),
            (
                "1.00",
                r#"{"account":"a","percent":"1","min":"2","max":"1"},{"account":"b"}"#,
                "min is",
            ),
            ("1.001", r#"{"account":"a"}"#, "scale of 2"),
            ("1.00", r#"{"account":"a","fixed":"0.001"},{"account":"b"}"#, "scale of 2"),
        ] {
            let said = parts(amount, "", split).unwrap_err();
            assert!(said.contains(why), "{split}: {said}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_made(
            total in 1..=i64::MAX,
            weights in prop::collection::vec(1..=1_000_000_u32, 1..20),
            percent in 0..=100_000_000_u32,
            rounding in prop::sample::select(vec!["half-even", "half-up", "down", "up"]),
            remainder in prop::sample::select(vec!["spread", "first", "last", "largest"]),
        ) {
            let weighted: Vec<String> = weights
                .iter()
                .map(|weight| format!(r#"{{"account":"w","weight":{weight}}}"#))
                .collect();
            let text = crate::money::format_minor(total.into(), 2);
            let fee = if percent == 0 {
                String::new()
            } else {
                format!(r#"{{"account":"f","percent":"{}"}},"#, crate::money::format_minor(percent.into(), 6))
            };
            let rules = format!(r#","rounding":"{rounding}","remainder":"{remainder}""#);
            let shares = parts(&text, &rules, &format!("{fee}{}", weighted.join(",")));
            let shares = shares.map_err(TestCaseError::fail)?;
            prop_assert_eq!(shares.iter().map(|s| i128::from(*s)).sum::<i128>(), i128::from(total));
            prop_assert!(shares.iter().all(|share| *share >= 0));
        }
    }
}
