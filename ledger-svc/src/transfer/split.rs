//! Amounts that are shared out by rule: fees, commissions, instalments, taxes. The request says how, the posting
//! says how much (`posting::share`).

use serde::Deserialize;
use utoipa::ToSchema;

use super::error::TransferError;
use super::fingerprint::Fingerprint;
use crate::account::Side;
use crate::json;
use crate::money::Amount;

/// An amount that becomes entries on one side, one for each part that is not zero. All parts' accounts hold one
/// currency. First every `percent` and `fixed` is taken, then what is left is shared by `weight`; without weights
/// nothing may be left.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// What is shared out.
    #[schema(value_type = String, example = "100.00", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub amount: Amount,
    /// The side of all its entries.
    pub direction: Side,
    /// How a percentage becomes minor units.
    #[serde(default)]
    #[schema(inline)]
    pub rounding: Rounding,
    /// Where the minor units go that weights leave over.
    #[serde(default)]
    #[schema(inline)]
    pub remainder: Remainder,
    /// Who gets it.
    #[serde(deserialize_with = "json::objects")]
    #[schema(min_items = 1, max_items = 1000)]
    pub parts: Vec<Part>,
}

/// One account's part: `percent` of the amount, or `fixed`, or the sum of the two, within `min` and `max`; or by
/// `weight` what the others leave. With none of the three, a weight of 1.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The account's code.
    #[schema(example = "income:fees:eur")]
    pub account: String,
    /// Of the amount, with up to six decimals.
    #[schema(value_type = Option<String>, example = "2.9", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    #[serde(default)]
    pub percent: Option<Amount>,
    #[schema(value_type = Option<String>, example = "0.30", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    #[serde(default)]
    pub fixed: Option<Amount>,
    /// At least this much, whatever the percentage comes to.
    #[schema(value_type = Option<String>, example = "0.50", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    #[serde(default)]
    pub min: Option<Amount>,
    /// At most this much.
    #[schema(value_type = Option<String>, example = "25.00", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    #[serde(default)]
    pub max: Option<Amount>,
    /// Its share among the weights.
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    #[serde(default)]
    pub weight: Option<u32>,
}

/// How a percentage that is no whole number of minor units is rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Halves to the even neighbour, so that many roundings cancel out.
    #[default]
    HalfEven,
    /// Halves away from zero.
    HalfUp,
    Down,
    Up,
}

/// Where the minor units go that are left when an amount is shared by weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Remainder {
    /// One to each weighted part, from the first on, until none is left.
    #[default]
    Spread,
    /// All to the first weighted part.
    First,
    /// All to the last.
    Last,
    /// All to the part with the greatest weight, the first of several.
    Largest,
}

/// Splits of one transfer at most.
pub const SPLITS_MAX: usize = 100;
/// Greatest weight.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Decimals of a percentage at most.
pub const PERCENT_DECIMALS_MAX: u32 = 6;

impl Rounding {
    fn as_str(self) -> &'static str {
        match self {
            Self::HalfEven => "half-even",
            Self::HalfUp => "half-up",
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

impl Remainder {
    fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::First => "first",
            Self::Last => "last",
            Self::Largest => "largest",
        }
    }
}

impl Part {
    /// Its weight, if it shares what is left.
    pub fn weighs(&self) -> Option<u32> {
        match (self.percent, self.fixed, self.weight) {
            (None, None, None) => Some(1),
            (_, _, weight) => weight,
        }
    }
}

impl Split {
    pub(super) fn print(&self, print: &mut Fingerprint) {
        print.field(&self.amount.canonical());
        print.field(self.direction.as_str());
        print.field(self.rounding.as_str());
        print.field(self.remainder.as_str());
        print.field(&self.parts.len().to_string());
        let if_any = |amount: Option<Amount>| amount.map(Amount::canonical).unwrap_or_default();
        for part in &self.parts {
            print.field(&part.account);
            for amount in [part.percent, part.fixed, part.min, part.max] {
                print.field(&if_any(amount));
            }
            print.field(&part.weighs().map(|weight| weight.to_string()).unwrap_or_default());
        }
    }
}

/// What can be said before accounts are known.
pub(super) fn check(splits: &[Split]) -> Result<(), TransferError> {
    if splits.len() > SPLITS_MAX {
        let what = "there are more splits than 100";
        return Err(TransferError::Split { index: SPLITS_MAX, what });
    }
    for (index, split) in splits.iter().enumerate() {
        let wrong = |what: &'static str| Err(TransferError::Split { index, what });
        if split.parts.is_empty() {
            return wrong("it has no parts");
        }
        for part in &split.parts {
            if part.weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
                return wrong("a weight goes from 1 to 1000000");
            }
            let taken = part.percent.is_some() || part.fixed.is_some();
            if part.weight.is_some() && taken {
                return wrong("a part has a weight, or percent and fixed, not both");
            }
            if !taken && (part.min.is_some() || part.max.is_some()) {
                return wrong("min and max are for parts with percent or fixed");
            }
            if part.percent.is_some_and(|percent| percent.decimals() > PERCENT_DECIMALS_MAX) {
                return wrong("percent has more than six decimals");
            }
        }
    }
    Ok(())
}
