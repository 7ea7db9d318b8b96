-- Names and values that clients gave their accounts. Part of the account's link of the chain.
CREATE TABLE account_metadata (
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_metadata_by_value ON account_metadata (name, value, account_id);
CREATE TRIGGER account_metadata_no_update BEFORE UPDATE ON account_metadata
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
CREATE TRIGGER account_metadata_no_delete BEFORE DELETE ON account_metadata
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
CREATE TRIGGER account_metadata_no_replace BEFORE INSERT ON account_metadata
WHEN EXISTS (SELECT 1 FROM account_metadata WHERE account_id = NEW.account_id AND name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
