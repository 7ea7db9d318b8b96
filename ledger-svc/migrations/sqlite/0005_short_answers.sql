-- An answer that follows from its transfer is stored without a body: half of what a transfer weighed. SQLite changes
-- no column's constraint in place, so the table is made anew.
DROP TRIGGER idempotency_keys_no_update;
DROP TRIGGER idempotency_keys_no_replace;
DROP TRIGGER idempotency_keys_no_delete;
ALTER TABLE idempotency_keys RENAME TO idempotency_keys_before;
DROP INDEX idempotency_keys_transfer_seq;
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    status INTEGER NOT NULL,
    body TEXT
) STRICT;
INSERT INTO idempotency_keys SELECT * FROM idempotency_keys_before;
DROP TABLE idempotency_keys_before;
CREATE UNIQUE INDEX idempotency_keys_transfer_seq ON idempotency_keys (transfer_seq);
CREATE TRIGGER idempotency_keys_no_update BEFORE UPDATE ON idempotency_keys
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER idempotency_keys_no_replace BEFORE INSERT ON idempotency_keys
WHEN EXISTS (SELECT 1 FROM idempotency_keys WHERE key = NEW.key OR transfer_seq = NEW.transfer_seq)
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER idempotency_keys_no_delete BEFORE DELETE ON idempotency_keys
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
