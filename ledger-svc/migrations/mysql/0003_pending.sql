-- The serving user needs more than in the first migration:
--   GRANT INSERT ON ledger.T TO 'ledger';   for pending_entries, holds, account_limits
--   GRANT DELETE ON ledger.holds TO 'ledger';

-- What a transfer is. Those that follow another one (post, void, expire, reverse) name it in of_seq, and a transfer
-- is followed once. The entries of 'pending' are in pending_entries; 'void' and 'expire' point at the entries they
-- release there; all others have theirs in entries.
ALTER TABLE transfers
    ADD COLUMN kind VARCHAR(8) NOT NULL DEFAULT 'transfer'
        CHECK (kind IN ('transfer', 'pending', 'post', 'void', 'expire', 'reverse')),
    ADD COLUMN of_seq BIGINT,
    ADD COLUMN expires_at_us BIGINT,
    ADD UNIQUE INDEX transfers_of_seq (of_seq);

-- As in entries, transfer_seq is no foreign key.
CREATE TABLE pending_entries (
    id BIGINT NOT NULL PRIMARY KEY,
    transfer_seq BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    direction VARCHAR(6) NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The pending transfers that nothing has followed yet.
CREATE TABLE holds (
    transfer_seq BIGINT NOT NULL PRIMARY KEY,
    expires_at_us BIGINT,
    INDEX holds_expires_at_us (expires_at_us),
    FOREIGN KEY (transfer_seq) REFERENCES transfers (seq)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- pending_* are the sums of the account's entries under holds. Limits are those in force.
ALTER TABLE balances
    ADD COLUMN pending_debits_minor BIGINT NOT NULL DEFAULT 0 CHECK (pending_debits_minor >= 0),
    ADD COLUMN pending_credits_minor BIGINT NOT NULL DEFAULT 0 CHECK (pending_credits_minor >= 0),
    ADD COLUMN balance_min_minor BIGINT,
    ADD COLUMN balance_max_minor BIGINT;

-- Every setting of an account's limits; the last one is in force.
CREATE TABLE account_limits (
    id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    balance_min_minor BIGINT,
    balance_max_minor BIGINT,
    set_at_us BIGINT NOT NULL,
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TRIGGER pending_entries_no_update BEFORE UPDATE ON pending_entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'pending entries are append-only';
CREATE TRIGGER pending_entries_no_delete BEFORE DELETE ON pending_entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'pending entries are append-only';
CREATE TRIGGER account_limits_no_update BEFORE UPDATE ON account_limits
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account limits are append-only';
CREATE TRIGGER account_limits_no_delete BEFORE DELETE ON account_limits
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account limits are append-only';
