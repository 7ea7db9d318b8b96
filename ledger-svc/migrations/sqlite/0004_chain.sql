-- One link for each currency, account, setting of limits and transfer: SHA-256 over the link before it and all the
-- columns of its subject, such as 'transfer:12'. What was booked before is chained by the service when it migrates.
CREATE TABLE chain (
    seq INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TRIGGER chain_no_update BEFORE UPDATE ON chain
BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END;
CREATE TRIGGER chain_no_delete BEFORE DELETE ON chain
BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END;
CREATE TRIGGER chain_no_replace BEFORE INSERT ON chain
WHEN NEW.seq <= (SELECT max(seq) FROM chain)
BEGIN SELECT RAISE(ABORT, 'the chain is append-only'); END;

-- A key is part of its transfer's link, and is found from there.
CREATE UNIQUE INDEX idempotency_keys_transfer_seq ON idempotency_keys (transfer_seq);
CREATE TRIGGER idempotency_keys_no_delete BEFORE DELETE ON idempotency_keys
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
