//! Reading a request for a new transfer.

use super::body::{DESCRIPTION_CHARS_MAX, TransferBody};
use super::entry::check_count;
use super::error::TransferError;
use super::fingerprint::Fingerprint;
use super::key::IdempotencyKey;
use super::request::{Action, TransferRequest};
use super::{expect, split};
use crate::json;
use crate::naming::validate_text;

/// Reads a posted body. Accounts, currencies and balance are judged later, by `posting::post`.
pub fn parse(
    key: IdempotencyKey,
    body: &[u8],
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    request(key, json::read(body)?, entries_max)
}

/// Checks a body that has been read.
pub fn request(
    key: IdempotencyKey,
    transfer: TransferBody,
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    validate_text("description", &transfer.description, DESCRIPTION_CHARS_MAX)?;
    let shared: usize = transfer.split.iter().map(|split| split.parts.len()).sum();
    check_count(transfer.entries.len() + shared, entries_max)?;
    split::check(&transfer.split)?;
    transfer.metadata.validate()?;
    expect::check(&transfer.expect, entries_max)?;
    if transfer.expires_at.is_some() && !transfer.pending {
        return Err(TransferError::ExpiresWithoutPending);
    }
    let fingerprint = fingerprint(&transfer);
    Ok(TransferRequest { key, fingerprint, action: Action::Transfer(transfer) })
}

/// Fields that later versions add must add nothing here when they are absent: old keys have to
/// keep matching.
fn fingerprint(transfer: &TransferBody) -> [u8; 32] {
    let mut print = Fingerprint::new("transfer-1");
    print.field(&transfer.description);
    print.field(&transfer.effective_date.map(|date| date.to_string()).unwrap_or_default());
    print.entries(&transfer.entries);
    if transfer.pending {
        print.field("pending");
        print.field(&transfer.expires_at.map(|at| at.to_string()).unwrap_or_default());
    }
    if !transfer.expect.is_empty() {
        print.field("expect");
        transfer.expect.iter().for_each(|expected| expected.print(&mut print));
    }
    // No account has such a code, so that nothing that can be booked reads alike.
    if !transfer.split.is_empty() {
        print.field("=split");
        print.field(&transfer.split.len().to_string());
        transfer.split.iter().for_each(|split| split.print(&mut print));
    }
    if !transfer.metadata.is_empty() {
        print.metadata(&transfer.metadata);
    }
    print.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<TransferRequest, TransferError> {
        parse(IdempotencyKey::parse(b"k").unwrap(), body.as_bytes(), 3)
    }

    const GOOD: &str = r#"{"description":"d","entries":[
        {"account":"a","direction":"debit","amount":"1.50"},
        {"account":"b","direction":"credit","amount":"1.5"}]}"#;

    #[test]
    fn a_fingerprint_is_of_the_meaning() {
        let same = r#"{"entries":[{"amount":"1.5","account":"a","direction":"debit"},{"direction":"credit","account":"b","amount":"1.500"}],"effective_date":null,"description":"d"}"#;
        let one = parsed(GOOD).unwrap().fingerprint;
        assert_eq!(one, parsed(same).unwrap().fingerprint);
        for (from, to) in [
            ("\"d\"", "\"D\""),
            ("1.50", "1.51"),
            ("\"a\"", "\"c\""),
            ("debit", "credit"),
            ("\"entries\"", "\"effective_date\":\"2026-01-01\",\"entries\""),
            ("\"entries\"", "\"metadata\":{\"order\":\"1\"},\"entries\""),
            ("\"entries\"", "\"metadata\":{\"order\":\"2\"},\"entries\""),
        ] {
            let other = GOOD.replacen(from, to, 1);
            assert_ne!(one, parsed(&other).unwrap().fingerprint, "{other}");
        }
    }

    #[test]
    fn metadata_and_splits_are_checked() {
        let with = |fields: &str| {
            let body = GOOD.replacen("\"entries\"", &format!("{fields},\"entries\""), 1);
            parsed(&body).map(|request| request.fingerprint).map_err(|error| error.to_string())
        };
        let none = with("\"metadata\":{},\"split\":[]").unwrap();
        assert_eq!(none, parsed(GOOD).unwrap().fingerprint, "old keys keep matching");
        let part = r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a"}]}]"#;
        assert_ne!(with(part).unwrap(), none);
        assert_eq!(with(part), with(&part.replace("\"a\"", "\"a\",\"weight\":1")));
        for (fields, why) in [
            (r#""metadata":{"A":"x"}"#, "not valid"),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[]}]"#,
                "split[0]: it has no parts",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","weight":0}]}]"#,
                "a weight goes",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","weight":1,"fixed":"1"}]}]"#,
                "not both",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","min":"1"}]}]"#,
                "min and max",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","percent":"0.0000001"}]}]"#,
                "six decimals",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a"},{"account":"b"}]}]"#,
                "at most 3 entries",
            ),
        ] {
            let said = with(fields).unwrap_err();
            assert!(said.contains(why), "{fields}: {said}");
        }
    }

    #[test]
    fn limits_name_themselves() {
        let few = parsed(r#"{"description":"","entries":[]}"#).unwrap_err();
        assert_eq!(few, TransferError::TooFewEntries(0));
        let entry = r#"{"account":"a","direction":"debit","amount":"1"}"#;
        let many = format!(r#"{{"description":"","entries":[{}]}}"#, [entry; 4].join(","));
        assert_eq!(
            parsed(&many).unwrap_err().to_string(),
            "a transfer has at most 3 entries, this one has 4; split it"
        );
        let long = GOOD.replacen("\"d\"", &format!("{:?}", "x".repeat(501)), 1);
        assert!(parsed(&long).unwrap_err().to_string().contains("501 characters"));
        let control = GOOD.replacen("\"d\"", r#""a\u0000b""#, 1);
        assert!(parsed(&control).unwrap_err().to_string().contains("U+0000"));
    }

    #[test]
    fn dates_are_plain_calendar_dates() {
        for bad in ["2026-02-30", "20260101", "2026-1-1", "2026-01-01T10:00:00", "01.02.2026", ""] {
            let body = GOOD.replacen(
                "\"entries\"",
                &format!("\"effective_date\":\"{bad}\",\"entries\""),
                1,
            );
            let error = parsed(&body).expect_err(bad).to_string();
            assert!(error.contains("YYYY-MM-DD"), "{error}");
        }
        let body = GOOD.replacen("\"entries\"", "\"effective_date\":\"2024-02-29\",\"entries\"", 1);
        let Action::Transfer(transfer) = parsed(&body).unwrap().action else { panic!() };
        assert_eq!(transfer.effective_date, Some(jiff::civil::date(2024, 2, 29)));
    }

    #[test]
    fn an_expiry_is_an_instant_of_a_pending_transfer() {
        let with = |fields: &str| {
            parsed(&GOOD.replacen("\"entries\"", &format!("{fields},\"entries\""), 1))
        };
        let plain = with("\"pending\":false").unwrap();
        assert_eq!(plain.fingerprint, parsed(GOOD).unwrap().fingerprint, "old keys keep matching");
        let held = with("\"pending\":true").unwrap();
        let until =
            with("\"pending\":true,\"expires_at\":\"2026-01-01T00:00:00.000001Z\"").unwrap();
        let same = with("\"pending\":true,\"expires_at\":\"2026-01-01T01:00:00.000001+01:00\"");
        assert_ne!(held.fingerprint, plain.fingerprint);
        assert_ne!(held.fingerprint, until.fingerprint);
        assert_eq!(until.fingerprint, same.unwrap().fingerprint);
        let lone = with("\"expires_at\":\"2026-01-01T00:00:00Z\"").unwrap_err();
        assert_eq!(lone, TransferError::ExpiresWithoutPending);
        for bad in ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.0000001Z", "soon"] {
            let error = with(&format!("\"pending\":true,\"expires_at\":\"{bad}\"")).unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
