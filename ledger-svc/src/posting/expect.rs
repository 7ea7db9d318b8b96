//! Whether accounts stand as a transfer expects them to.

use super::{Accounts, Rejection};
use crate::money::{format_minor, signed_minor};
use crate::transfer::Expectation;

/// The first expectation that does not hold refuses the transfer.
pub fn check(expected: &[Expectation], accounts: &Accounts) -> Result<(), Rejection> {
    for (index, expected) in expected.iter().enumerate() {
        let Some(standing) = accounts.0.get(&expected.account) else {
            return Err(Rejection::UnknownAccounts(vec![expected.account.clone()]));
        };
        let failed = |what: &'static str, wanted: String, found: String| {
            let account = expected.account.clone();
            Err(Rejection::NotAsExpected { index, account, what, wanted, found })
        };
        if let Some(version) = expected.version
            && version != standing.balance.entries
        {
            return failed("version", version.to_string(), standing.balance.entries.to_string());
        }
        let (balance, normal) = (&standing.balance, standing.normal);
        let amounts = [
            (
                "balance",
                &expected.balance,
                normal.balance(balance.debits_minor, balance.credits_minor),
            ),
            ("available", &expected.available, balance.available(normal)),
        ];
        for (what, wanted, found) in amounts {
            let Some(wanted) = wanted else { continue };
            let minor = signed_minor(wanted, &standing.currency)
                .map_err(|error| Rejection::ExpectedAmount { index, what, error })?;
            if i128::from(minor) != found {
                let found = format_minor(found, standing.currency.scale);
                return failed(what, wanted.clone(), found);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Side;
    use crate::money::Currency;
    use crate::posting::{Balance, Limits, Standing};

    #[test]
    fn each_field_must_hold() {
        let balance = Balance {
            debits_minor: 500,
            entries: 3,
            pending_credits_minor: 120,
            ..Balance::default()
        };
        let standing = Standing {
            account_id: 1,
            currency: Currency { code: "EUR".into(), scale: 2 },
            normal: Side::Debit,
            balance,
            limits: Limits::default(),
            last_entry_id: 0,
        };
        let accounts = Accounts([("a".to_owned(), standing)].into());
        let checked = |fields: &str| {
            let expected = format!(r#"[{{"account":"a",{fields}}}]"#);
            let expected: Vec<Expectation> = serde_json::from_str(&expected).unwrap();
            check(&expected, &accounts).map_err(|rejection| rejection.to_string())
        };
        assert_eq!(checked(r#""version":3,"balance":"5.0","available":"3.80""#), Ok(()));
        for (fields, said) in [
            (r#""version":2"#, "version is 3, not 2"),
            (r#""balance":"5.01""#, "balance is 5.00, not 5.01"),
            (r#""version":3,"available":"5""#, "available is 3.80, not 5"),
            (r#""balance":"5.001""#, "scale of 2"),
            (r#""balance":"x""#, "plain decimal"),
        ] {
            let error = checked(fields).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let other: Vec<Expectation> = serde_json::from_str(r#"[{"account":"b"}]"#).unwrap();
        assert_eq!(check(&other, &accounts), Err(Rejection::UnknownAccounts(vec!["b".into()])));
    }
}
