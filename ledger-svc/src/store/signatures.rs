//! Signatures of the chain's head: how one is stored, and what is read of them.

use super::engine::Batch;
use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use super::rows;
use crate::act::{Acted, Booked};
use crate::link::Head;
use crate::report::Page;
use crate::signature::SignatureRow;

const LAST: &str = "SELECT id, head_seq, head_hash, public_key, signature, signed_at_us
     FROM head_signatures ORDER BY id DESC LIMIT 1";
const SIGNATURES: &str = "SELECT id, head_seq, head_hash, public_key, signature, signed_at_us
     FROM head_signatures WHERE id > ? ORDER BY id LIMIT ?";
const LAST_LINK: &str = "SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1";
const LAST_LINK_OF_TRANSFERS: &str =
    "SELECT link_seq, link FROM transfers ORDER BY seq DESC LIMIT 1";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[LAST, SIGNATURES, LAST_LINK, LAST_LINK_OF_TRANSFERS];

pub(super) fn signature_row(row: &dyn Columns) -> Result<SignatureRow, StoreError> {
    let wrong = |_| StoreError::Corrupt("a signature of another length".into());
    let head = Head { seq: row.long(1)?, hash: row.bytes(2)?.try_into().map_err(wrong)? };
    Ok(SignatureRow {
        id: row.long(0)?,
        head,
        public_key: row.bytes(3)?.try_into().map_err(wrong)?,
        signature: row.bytes(4)?.try_into().map_err(wrong)?,
        signed_at_us: row.long(5)?,
    })
}

impl Batch<'_> {
    pub(super) async fn store_signature(
        &mut self,
        signed: &SignatureRow,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let last = self.query(LAST, signature_row).await?.pop();
        let row = SignatureRow { id: last.map_or(0, |last| last.id) + 1, ..signed.clone() };
        self.insert(&[rows::of_signature(&row)]).await?;
        Ok((Acted::Signed(row.clone()), vec![Booked::Signature(row)]))
    }
}

impl Reader {
    /// Where the chain ends.
    pub async fn head(&self) -> Result<Head, StoreError> {
        let linked = |row: &dyn Columns| {
            if row.is_null(0)? { Ok(None) } else { row::head(row).map(Some) }
        };
        let mut moment = self.moment().await?;
        let mut heads = moment.rows(LAST_LINK, &[], linked).await?;
        heads.extend(moment.rows(LAST_LINK_OF_TRANSFERS, &[], linked).await?);
        moment.end().await?;
        Ok(heads.into_iter().flatten().max_by_key(|head| head.seq).unwrap_or_default())
    }

    pub async fn last_signature(&self) -> Result<Option<SignatureRow>, StoreError> {
        self.row(LAST, &[], signature_row).await
    }

    /// Signatures after the `after`th.
    pub async fn signatures(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<SignatureRow>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(SIGNATURES, &arguments, signature_row).await?;
        Ok(Page::cut(rows, limit, |row| row.id.to_string()))
    }
}
