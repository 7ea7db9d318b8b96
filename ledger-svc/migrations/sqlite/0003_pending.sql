-- What a transfer is. Those that follow another one (post, void, expire, reverse) name it in of_seq, and a transfer
-- is followed once. The entries of 'pending' are in pending_entries; 'void' and 'expire' point at the entries they
-- release there; all others have theirs in entries.
ALTER TABLE transfers ADD COLUMN kind TEXT NOT NULL DEFAULT 'transfer'
    CHECK (kind IN ('transfer', 'pending', 'post', 'void', 'expire', 'reverse'));
ALTER TABLE transfers ADD COLUMN of_seq INTEGER REFERENCES transfers (seq);
ALTER TABLE transfers ADD COLUMN expires_at_us INTEGER;
CREATE UNIQUE INDEX transfers_of_seq ON transfers (of_seq) WHERE of_seq IS NOT NULL;
CREATE TRIGGER transfers_no_second_follower BEFORE INSERT ON transfers
WHEN NEW.of_seq IS NOT NULL AND EXISTS (SELECT 1 FROM transfers WHERE of_seq = NEW.of_seq)
BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;

CREATE TABLE pending_entries (
    id INTEGER PRIMARY KEY,
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    direction TEXT NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0)
) STRICT;
CREATE TRIGGER pending_entries_no_update BEFORE UPDATE ON pending_entries
BEGIN SELECT RAISE(ABORT, 'pending entries are append-only'); END;
CREATE TRIGGER pending_entries_no_delete BEFORE DELETE ON pending_entries
BEGIN SELECT RAISE(ABORT, 'pending entries are append-only'); END;
CREATE TRIGGER pending_entries_no_replace BEFORE INSERT ON pending_entries
WHEN NEW.id <= (SELECT max(id) FROM pending_entries)
BEGIN SELECT RAISE(ABORT, 'pending entries are append-only'); END;

-- The pending transfers that nothing has followed yet.
CREATE TABLE holds (
    transfer_seq INTEGER PRIMARY KEY REFERENCES transfers (seq),
    expires_at_us INTEGER
) STRICT;
CREATE INDEX holds_expires_at_us ON holds (expires_at_us) WHERE expires_at_us IS NOT NULL;

-- pending_* are the sums of the account's entries under holds. Limits are those in force.
ALTER TABLE balances ADD COLUMN pending_debits_minor INTEGER NOT NULL DEFAULT 0 CHECK (pending_debits_minor >= 0);
ALTER TABLE balances ADD COLUMN pending_credits_minor INTEGER NOT NULL DEFAULT 0 CHECK (pending_credits_minor >= 0);
ALTER TABLE balances ADD COLUMN balance_min_minor INTEGER;
ALTER TABLE balances ADD COLUMN balance_max_minor INTEGER;

-- Every setting of an account's limits; the last one is in force.
CREATE TABLE account_limits (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    balance_min_minor INTEGER,
    balance_max_minor INTEGER,
    set_at_us INTEGER NOT NULL
) STRICT;
CREATE TRIGGER account_limits_no_update BEFORE UPDATE ON account_limits
BEGIN SELECT RAISE(ABORT, 'account limits are append-only'); END;
CREATE TRIGGER account_limits_no_delete BEFORE DELETE ON account_limits
BEGIN SELECT RAISE(ABORT, 'account limits are append-only'); END;
CREATE TRIGGER account_limits_no_replace BEFORE INSERT ON account_limits
WHEN NEW.id <= (SELECT max(id) FROM account_limits)
BEGIN SELECT RAISE(ABORT, 'account limits are append-only'); END;
