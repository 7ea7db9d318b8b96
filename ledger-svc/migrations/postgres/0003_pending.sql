-- The serving role needs more than in the first migration:
--   GRANT SELECT, INSERT ON pending_entries, holds, account_limits TO ledger; GRANT DELETE ON holds TO ledger;

-- What a transfer is. Those that follow another one (post, void, expire, reverse) name it in of_seq, and a transfer
-- is followed once. The entries of 'pending' are in pending_entries; 'void' and 'expire' point at the entries they
-- release there; all others have theirs in entries.
ALTER TABLE transfers
    ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'transfer'
        CHECK (kind IN ('transfer', 'pending', 'post', 'void', 'expire', 'reverse')),
    ADD COLUMN of_seq bigint REFERENCES transfers (seq),
    ADD COLUMN expires_at_us bigint;
CREATE UNIQUE INDEX transfers_of_seq ON transfers (of_seq) WHERE of_seq IS NOT NULL;

CREATE TABLE pending_entries (
    id bigint PRIMARY KEY,
    transfer_seq bigint NOT NULL REFERENCES transfers (seq),
    account_id bigint NOT NULL REFERENCES accounts (id),
    direction text NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0)
);

-- The pending transfers that nothing has followed yet.
CREATE TABLE holds (
    transfer_seq bigint PRIMARY KEY REFERENCES transfers (seq),
    expires_at_us bigint
);
CREATE INDEX holds_expires_at_us ON holds (expires_at_us) WHERE expires_at_us IS NOT NULL;

-- pending_* are the sums of the account's entries under holds. Limits are those in force.
ALTER TABLE balances
    ADD COLUMN pending_debits_minor bigint NOT NULL DEFAULT 0 CHECK (pending_debits_minor >= 0),
    ADD COLUMN pending_credits_minor bigint NOT NULL DEFAULT 0 CHECK (pending_credits_minor >= 0),
    ADD COLUMN balance_min_minor bigint,
    ADD COLUMN balance_max_minor bigint;

-- Every setting of an account's limits; the last one is in force.
CREATE TABLE account_limits (
    id bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    balance_min_minor bigint,
    balance_max_minor bigint,
    set_at_us bigint NOT NULL
);

CREATE TRIGGER pending_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pending_entries
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('pending entries are append-only');
CREATE TRIGGER account_limits_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_limits
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('account limits are append-only');
