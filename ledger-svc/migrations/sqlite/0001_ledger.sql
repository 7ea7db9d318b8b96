-- Marks the file as a Forebay ledger ("FBLG"), so that another program's database is never touched.
PRAGMA application_id = 1178750023;

CREATE TABLE currencies (
    code TEXT PRIMARY KEY,
    scale INTEGER NOT NULL CHECK (scale BETWEEN 0 AND 12)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    currency TEXT NOT NULL REFERENCES currencies (code),
    normal_balance TEXT NOT NULL CHECK (normal_balance IN ('debit', 'credit')),
    created_at_us INTEGER NOT NULL
) STRICT;

-- Apart from accounts, so that accounts can be immutable and a balance update stays small.
CREATE TABLE balances (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
    debits_minor INTEGER NOT NULL CHECK (debits_minor >= 0),
    credits_minor INTEGER NOT NULL CHECK (credits_minor >= 0),
    entries INTEGER NOT NULL CHECK (entries >= 0)
) STRICT;

-- seq orders transfers and has no gaps; the entries of a transfer are the ids
-- entry_id_first .. entry_id_first + entries - 1, which saves an index on entries.
CREATE TABLE transfers (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    effective_date TEXT NOT NULL,
    booked_at_us INTEGER NOT NULL,
    entry_id_first INTEGER NOT NULL,
    entries INTEGER NOT NULL CHECK (entries >= 2)
) STRICT;

-- number counts the entries of one account from 1 without gaps; *_after are the account's totals
-- with this entry, so that a running balance needs no summing.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    number INTEGER NOT NULL CHECK (number >= 1),
    direction TEXT NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    debits_after_minor INTEGER NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor INTEGER NOT NULL CHECK (credits_after_minor >= 0),
    UNIQUE (account_id, number)
) STRICT;

-- The first answer to every key, kept byte for byte.
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    status INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- epoch grows with every service start; a writer that finds another epoch has been replaced.
CREATE TABLE service (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    probed_at_us INTEGER NOT NULL
) STRICT;
INSERT INTO service (id, epoch, probed_at_us) VALUES (1, 0, 0);

-- Append-only. The INSERT triggers are there because INSERT OR REPLACE deletes without firing
-- DELETE triggers.
CREATE TRIGGER transfers_no_update BEFORE UPDATE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfers_no_delete BEFORE DELETE ON transfers
BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;
CREATE TRIGGER transfers_no_replace BEFORE INSERT ON transfers
WHEN NEW.seq <= (SELECT max(seq) FROM transfers)
    OR EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;

CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_replace BEFORE INSERT ON entries
WHEN NEW.id <= (SELECT max(id) FROM entries)
    OR EXISTS (SELECT 1 FROM entries WHERE account_id = NEW.account_id AND number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;

CREATE TRIGGER idempotency_keys_no_update BEFORE UPDATE ON idempotency_keys
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER idempotency_keys_no_replace BEFORE INSERT ON idempotency_keys
WHEN EXISTS (SELECT 1 FROM idempotency_keys WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;

CREATE TRIGGER accounts_no_update BEFORE UPDATE ON accounts
BEGIN SELECT RAISE(ABORT, 'accounts are never changed'); END;
CREATE TRIGGER accounts_no_delete BEFORE DELETE ON accounts
BEGIN SELECT RAISE(ABORT, 'accounts are never changed'); END;
CREATE TRIGGER currencies_no_update BEFORE UPDATE ON currencies
BEGIN SELECT RAISE(ABORT, 'currencies are never changed'); END;
CREATE TRIGGER currencies_no_delete BEFORE DELETE ON currencies
BEGIN SELECT RAISE(ABORT, 'currencies are never changed'); END;
