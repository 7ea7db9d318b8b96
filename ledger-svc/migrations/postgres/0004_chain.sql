-- The serving role needs one more grant:  GRANT SELECT, INSERT ON chain TO ledger;

-- One link for each currency, account, setting of limits and transfer: SHA-256 over the link before it and all the
-- columns of its subject, such as 'transfer:12'. What was booked before is chained by the service when it migrates.
CREATE TABLE chain (
    seq bigint PRIMARY KEY,
    subject text NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE TRIGGER chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chain
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('the chain is append-only');

-- A key is part of its transfer's link, and is found from there.
CREATE UNIQUE INDEX idempotency_keys_transfer_seq ON idempotency_keys (transfer_seq);
