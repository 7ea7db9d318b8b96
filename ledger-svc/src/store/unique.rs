//! A key books once, and a transfer is followed once, because an index of the database refuses the second: the writer looks
//! up neither before it writes. A database that lost such an index, by hand or by a copy that was not whole, says nothing of
//! it. So the catalogue is held against what there must be.

use super::audit::Audit;
use super::error::StoreError;

/// Tables, and columns that no two rows of theirs share. The tests hold it against what the migrations make.
const UNIQUE: [&str; 50] = [
    "account_limits(id)",
    "account_metadata(account_id,name)",
    "account_set_members(id)",
    "account_set_members(set_id,account_id)",
    "account_set_members(set_id,member_set_id)",
    "account_sets(code)",
    "account_sets(id)",
    "accounts(code)",
    "accounts(id)",
    "api_key_revocations(key_id)",
    "api_key_uses(key_id)",
    "api_keys(hash)",
    "api_keys(id)",
    "audit_log(id)",
    "backdated_days(account_id,effective_date,booked_date)",
    "backdated_entries(account_id,effective_date,number)",
    "backdated_entries(id)",
    "balances(account_id)",
    "chain(seq)",
    "close_balances(close_id,account_id)",
    "closes(id)",
    "closes(through)",
    "currencies(code)",
    "entries(id)",
    "external_lines(id)",
    "external_lines(statement_id,number)",
    "external_repeats(statement_id,number)",
    "external_statements(account_id,hash)",
    "external_statements(id)",
    "external_withdrawals(statement_id)",
    "head_signatures(id)",
    "holds(transfer_seq)",
    "idempotency_keys(key)",
    "idempotency_keys(transfer_seq)",
    "match_entries(match_id,entry_id)",
    "match_lines(match_id,line_id)",
    "matched_entries(entry_id)",
    "matches(id)",
    "open_lines(line_id)",
    "pending_entries(id)",
    "service(id)",
    "transfer_metadata(transfer_seq,name)",
    "transfers(id)",
    "transfers(key)",
    "transfers(of_seq)",
    "transfers(seq)",
    "unmatches(match_id)",
    "webhook_endpoints(id)",
    "webhook_progress(endpoint_id)",
    "webhook_removals(endpoint_id)",
];

/// Without these the service would book twice what it is asked for twice.
pub const RELIED_ON: [&str; 3] = ["idempotency_keys(key)", "transfers(key)", "transfers(of_seq)"];

/// Names of indexes that are not made of the table's and the columns'.
const NAMED: [(&str, &str); 1] =
    [("backdated_entries(account_id,effective_date,number)", "backdated_entries_by_date")];

/// Those of all rows, or of all that have a value.
const SQLITE: &str = "SELECT m.name || '(' || (SELECT group_concat(name, ',') FROM pragma_index_info(i.name)) || ')'
     FROM sqlite_schema AS m JOIN pragma_index_list(m.name) AS i
     WHERE m.type = 'table' AND i.\"unique\"
        AND (NOT i.partial OR (SELECT x.sql FROM sqlite_schema AS x WHERE x.name = i.name) LIKE
            '% WHERE ' || (SELECT group_concat(name, ',') FROM pragma_index_info(i.name)) || ' IS NOT NULL')
     UNION SELECT m.name || '(' || p.name || ')' FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS p
     WHERE m.type = 'table' AND p.pk AND lower(p.type) = 'integer'
        AND (SELECT count(*) FROM pragma_table_info(m.name) WHERE pk) = 1";
const MYSQL: &str = "SELECT CAST(CONCAT(table_name, '(', GROUP_CONCAT(column_name ORDER BY seq_in_index), ')') AS CHAR)
     FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0
     GROUP BY table_name, index_name HAVING SUM(sub_part IS NOT NULL) = 0";
const POSTGRES: &str = "SELECT found.name FROM (
        SELECT c.relname || '(' || string_agg(a.attname::text, ',' ORDER BY k.place) || ')' AS name,
            max(pg_get_expr(i.indpred, i.indrelid)) AS part, min(a.attname::text) AS first
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attribute, place)
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attribute
        WHERE i.indisunique AND i.indisvalid AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
            AND c.relnamespace = current_schema()::regnamespace
        GROUP BY c.relname, i.indexrelid
     ) AS found WHERE found.part IS NULL OR found.part = '(' || found.first || ' IS NOT NULL)'";

impl Audit {
    /// Of the columns that must be, those that no index keeps unique.
    pub(super) async fn not_unique(&mut self) -> Result<Vec<&'static str>, StoreError> {
        let found = self.unique().await?;
        Ok(UNIQUE.into_iter().filter(|unique| !found.iter().any(|found| found == unique)).collect())
    }

    async fn unique(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = match self {
            Self::Sqlite(_) => SQLITE,
            Self::MySql(_) => MYSQL,
            Self::Postgres(_) => POSTGRES,
        };
        self.rows(sql.to_owned(), |row| row.string(0)).await
    }

    /// Two transfers of one key: the second's number, and the key.
    pub async fn key_of_two(&mut self) -> Result<Option<(i64, String)>, StoreError> {
        for sql in [
            "SELECT max(t.seq), t.key FROM transfers AS t WHERE t.key IS NOT NULL GROUP BY t.key HAVING count(*) > 1",
            "SELECT t.seq, t.key FROM idempotency_keys AS k JOIN transfers AS t ON t.key = k.key
             WHERE t.seq <> k.transfer_seq",
        ] {
            let sql = format!("{sql} ORDER BY 1 LIMIT 1");
            let found = self.rows(sql, |row| Ok((row.long(0)?, row.string(1)?))).await?.pop();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// What makes such an index again. In MySQL's words one of the columns is a word of SQL, and no index is dropped that may not
/// be there.
pub fn statements(unique: &str, is_mysql: bool) -> Vec<String> {
    let (table, columns) = unique.trim_end_matches(')').split_once('(').unwrap_or((unique, ""));
    let named = NAMED.iter().find(|(named, _)| *named == unique);
    let name = named.map_or_else(
        || format!("{table}_{}", columns.replace(',', "_")),
        |(_, name)| (*name).to_owned(),
    );
    let quote = if is_mysql { "`" } else { "" };
    let quoted: Vec<String> =
        columns.split(',').map(|column| format!("{quote}{column}{quote}")).collect();
    let made = format!("CREATE UNIQUE INDEX {name} ON {table} ({})", quoted.join(", "));
    // One of the name that is not valid, or not unique any more.
    let dropped = (!is_mysql).then(|| format!("DROP INDEX IF EXISTS {name}"));
    dropped.into_iter().chain([made]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::{DatabaseUrl, migrate};

    #[tokio::test]
    async fn what_migrations_make_is_what_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("l").display());
        let url: DatabaseUrl = url.parse().unwrap();
        migrate(&url, false).await.unwrap();
        let mut audit = Audit::open(&url).await.unwrap();
        let found: BTreeSet<String> = audit.unique().await.unwrap().into_iter().collect();
        let due = UNIQUE.iter().chain(&["_sqlx_migrations(version)"]);
        assert_eq!(found, due.map(|unique| (*unique).to_owned()).collect());
        assert!(RELIED_ON.iter().all(|unique| UNIQUE.contains(unique)));
    }

    #[test]
    fn indexes_are_made_again_by_their_names() {
        assert_eq!(statements("a(b,key)", true), ["CREATE UNIQUE INDEX a_b_key ON a (`b`, `key`)"]);
        assert_eq!(
            statements("transfers(key)", false),
            [
                "DROP INDEX IF EXISTS transfers_key",
                "CREATE UNIQUE INDEX transfers_key ON transfers (key)"
            ]
        );
    }
}
