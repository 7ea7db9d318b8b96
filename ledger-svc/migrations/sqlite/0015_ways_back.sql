-- An account's entries are found by going back from its last one from now on: each points at the one before it and at
-- one further back. The unique index over accounts and numbers that found them was a page changed anywhere in it for
-- every entry; so was, for a look into it, what kept it from being replaced. The service gives the entries there are
-- their ways back when it migrates, and drops entries_before when all of them have theirs.
DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
DROP TRIGGER entries_no_replace;

-- Nothing refers to entries any more: the entries a transfer brings are written with it, and verify holds them together.
ALTER TABLE backdated_entries RENAME TO backdated_entries_before;
DROP INDEX backdated_entries_by_date;
CREATE TABLE backdated_entries (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    effective_date TEXT NOT NULL,
    number INTEGER NOT NULL
) STRICT;
INSERT INTO backdated_entries (id, account_id, effective_date, number)
SELECT id, account_id, effective_date, number FROM backdated_entries_before;
DROP TABLE backdated_entries_before;
CREATE UNIQUE INDEX backdated_entries_by_date ON backdated_entries (account_id, effective_date, number);

-- As in the other engines transfer_seq and account_id are no foreign keys: the writer writes the transfer, and the
-- balance of the account, in the same SQL transaction.
ALTER TABLE entries RENAME TO entries_before;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    transfer_seq INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    direction TEXT NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    debits_after_minor INTEGER NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor INTEGER NOT NULL CHECK (credits_after_minor >= 0),
    previous_id INTEGER NOT NULL,
    jump_id INTEGER NOT NULL,
    CHECK (jump_id <= previous_id AND previous_id < id)
) STRICT;
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_replace BEFORE INSERT ON entries
WHEN NEW.id <= (SELECT max(id) FROM entries)
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;

-- Where the way back begins; 0 of an account without entries.
ALTER TABLE balances ADD COLUMN last_entry_id INTEGER NOT NULL DEFAULT 0;
UPDATE balances SET last_entry_id = coalesce((
    SELECT e.id FROM entries_before AS e WHERE e.account_id = balances.account_id AND e.number = balances.entries
), 0);
