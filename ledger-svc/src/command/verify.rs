//! `forebay-ledger verify`: recomputes a database and says what it found.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::database::DatabaseArgs;
use super::output::print;
use crate::hex::hex;
use crate::link::Head;
use crate::money::format_minor;
use crate::signature::{PublicKey, pem};
use crate::store::DatabaseUrl;
use crate::verify::{self, Verified, VerifyError};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A head of the chain noted down at an earlier verify: it must still be part of the chain. Without
    /// one, somebody who rewrites the whole chain, or cuts off its end, goes unnoticed
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    head: Option<Head>,
    /// A public key (PEM, as signing-key prints it): the head must have been signed by it, and every signature must be by
    /// one of those that are given; may be given several times
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
}

pub fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let database: DatabaseUrl = args.database.database.parse()?;
    let keys =
        args.public_key.iter().map(|path| public_key(path)).collect::<Result<Vec<_>, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let verified = runtime.block_on(verify::verify_signed(&database, args.head, &keys))?;
    print(&text(&database, &verified))?;
    match verified.unguarded {
        unguarded if unguarded.is_empty() => Ok(()),
        unguarded => Err(VerifyError::Unguarded(unguarded).into()),
    }
}

pub fn text(database: &DatabaseUrl, verified: &Verified) -> String {
    let (books, head) = (&verified.books, verified.books.head());
    let mut text = format!(
        "{database}: the books are right\n  {} transfers, {} entries, {} accounts\n",
        books.transfers, books.entries, verified.accounts
    );
    for (currency, sums) in &books.sums {
        let total = format_minor(sums.debits_minor, sums.scale);
        let difference = format_minor(sums.debits_minor - sums.credits_minor, sums.scale);
        let _ = writeln!(text, "  {currency}: {total} on each side, difference {difference}");
    }
    if let Some((last, count)) = &verified.signed {
        let (key, link) = (hex(&last.public_key), last.head.seq);
        let _ = writeln!(text, "  {count} signatures, the last over link {link} by {key}");
    }
    let _ = writeln!(text, "  head of the chain: {}:{}", head.seq, hex(&head.hash));
    text
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let named = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {named}"))?;
    pem::read_public(&text).with_context(|| format!("{named} holds no Ed25519 public key (PEM)"))
}

fn head(text: &str) -> Result<Head, String> {
    let wrong = || format!("{text:?} is not a head; give it as verify prints it, SEQ:HASH");
    let (seq, digits) = text.split_once(':').ok_or_else(wrong)?;
    let seq = seq.parse::<i64>().ok().filter(|seq| *seq > 0).ok_or_else(wrong)?;
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        let pair = &digits[2 * index..2 * index + 2];
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(Head { seq, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_printed() {
        let hash = [0xa5; 32];
        assert_eq!(head(&format!("12:{}", hex(&hash))), Ok(Head { seq: 12, hash }));
        let long = format!("12:{}0", hex(&hash));
        for bad in ["", "12", "12:", "0:00", "x:00", long.as_str()] {
            assert!(head(bad).unwrap_err().contains("SEQ:HASH"), "{bad}");
        }
    }
}
