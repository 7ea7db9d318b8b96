//! Sets of accounts that are looked at together: what all shops hold, what all of one customer's wallets come to. A set has
//! accounts and other sets, and its totals are summed when they are read: nothing is locked, and no transfer pays for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::account::NAME_CHARS_MAX;
use crate::naming::{NameError, validate_code, validate_text};
use crate::report::CurrencyTotals;
use crate::when::write_instant;

/// Sets there may be.
pub const SETS_MAX: i64 = 10_000;
/// Members added by one request.
pub const MEMBERS_AT_ONCE: usize = 1000;

/// What a client posts to `/v1/account-sets`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBody {
    /// As an account's: parts of small letters, digits, `-` and `_`, joined by colons.
    #[schema(
        example = "shops:north",
        pattern = "^[a-z0-9][a-z0-9_-]*(:[a-z0-9][a-z0-9_-]*)*$",
        max_length = 128
    )]
    pub code: String,
    /// What people call it; 1 to 200 characters.
    #[schema(example = "Shops in the north", min_length = 1, max_length = 200)]
    pub name: String,
}

impl SetBody {
    pub fn validate(&self) -> Result<(), NameError> {
        validate_code(&self.code)?;
        if self.name.is_empty() {
            return Err(NameError::TextEmpty { what: "name" });
        }
        validate_text("name", &self.name, NAME_CHARS_MAX)
    }
}

/// What belongs to a set from now on. It stays: a set without one of them is another set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MembersBody {
    /// Codes of accounts.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub accounts: Vec<String>,
    /// Codes of other sets, all of whose accounts belong to it.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub sets: Vec<String>,
}

/// Members to be added, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMembers {
    pub set_id: i64,
    pub accounts: Vec<i64>,
    pub sets: Vec<i64>,
}

/// A set as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRow {
    pub id: i64,
    pub code: String,
    pub name: String,
    pub created_at_us: i64,
}

/// A member as stored: an account or a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    pub id: i64,
    pub set_id: i64,
    pub account_id: Option<i64>,
    pub member_set_id: Option<i64>,
    pub added_at_us: i64,
}

/// Why members are not added.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    #[error("the set would be within itself")]
    Cycle,
    #[error("there are {SETS_MAX} sets already")]
    TooMany,
}

/// A set as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountSet {
    /// The database's number of it.
    #[serde(skip)]
    #[schema(ignore)]
    pub id: i64,
    #[schema(example = "shops:north")]
    pub code: String,
    #[schema(example = "Shops in the north")]
    pub name: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub created_at: Timestamp,
}

/// A set with its totals: each account within it once, however often it is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SetTotals {
    #[serde(flatten)]
    pub set: AccountSet,
    pub currencies: Vec<CurrencyTotals>,
}

/// One member: an account or a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Member {
    #[serde(skip)]
    #[schema(ignore)]
    pub id: i64,
    /// An account's code; null when it is a set.
    pub account: Option<String>,
    /// A set's code; null when it is an account.
    pub set: Option<String>,
}

impl SetRow {
    pub fn listed(self) -> AccountSet {
        let created_at = Timestamp::from_microsecond(self.created_at_us).unwrap_or_default();
        AccountSet { id: self.id, code: self.code, name: self.name, created_at }
    }
}
