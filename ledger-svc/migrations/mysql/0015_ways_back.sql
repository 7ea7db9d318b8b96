-- An account's entries are found by going back from its last one from now on: each points at the one before it and at
-- one further back. The unique index over accounts and numbers that found them was a page changed anywhere in it for
-- every entry. The service gives the entries there are their ways back when it migrates, and drops entries_before when
-- all of them have theirs. What is granted on entries goes by its name and stays.
DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
RENAME TABLE entries TO entries_before;
CREATE TABLE entries (
    id BIGINT NOT NULL PRIMARY KEY,
    transfer_seq BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 1),
    direction VARCHAR(6) NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    debits_after_minor BIGINT NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor BIGINT NOT NULL CHECK (credits_after_minor >= 0),
    previous_id BIGINT NOT NULL,
    jump_id BIGINT NOT NULL,
    CHECK (jump_id <= previous_id AND previous_id < id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only';
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only';

-- Where the way back begins; 0 of an account without entries.
ALTER TABLE balances ADD COLUMN last_entry_id BIGINT NOT NULL DEFAULT 0;
UPDATE balances SET last_entry_id = COALESCE((
    SELECT e.id FROM entries_before AS e WHERE e.account_id = balances.account_id AND e.number = balances.entries
), 0);
