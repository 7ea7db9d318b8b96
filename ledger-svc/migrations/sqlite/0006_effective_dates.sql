-- Entries whose effective date is not the day (UTC) they were booked on: listed, and summed by both days. All others
-- are found by when they were booked, so only what is backdated (or dated ahead) pays for it. Derived from transfers
-- and entries; forebay-ledger verify recomputes it.
CREATE TABLE backdated_entries (
    id INTEGER PRIMARY KEY REFERENCES entries (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    effective_date TEXT NOT NULL,
    number INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX backdated_entries_by_date ON backdated_entries (account_id, effective_date, number);
CREATE TABLE backdated_days (
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    effective_date TEXT NOT NULL,
    booked_date TEXT NOT NULL,
    debits_minor INTEGER NOT NULL CHECK (debits_minor >= 0),
    credits_minor INTEGER NOT NULL CHECK (credits_minor >= 0),
    entries INTEGER NOT NULL CHECK (entries >= 0),
    PRIMARY KEY (account_id, effective_date, booked_date)
) STRICT, WITHOUT ROWID;
INSERT INTO backdated_entries (id, account_id, effective_date, number)
SELECT e.id, e.account_id, t.effective_date, e.number
FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
WHERE t.effective_date <> strftime('%Y-%m-%d', t.booked_at_us / 1000000, 'unixepoch');
INSERT INTO backdated_days (account_id, effective_date, booked_date, debits_minor, credits_minor, entries)
SELECT b.account_id, b.effective_date, strftime('%Y-%m-%d', t.booked_at_us / 1000000, 'unixepoch') AS booked,
    sum(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE 0 END),
    sum(CASE WHEN e.direction = 'credit' THEN e.amount_minor ELSE 0 END), count(*)
FROM backdated_entries AS b JOIN entries AS e ON e.id = b.id JOIN transfers AS t ON t.seq = e.transfer_seq
GROUP BY b.account_id, b.effective_date, booked;

-- Periods that are closed: nothing with an effective date up to through is booked any more. Each close keeps every
-- account's totals of all entries up to that date, which the next period begins with.
CREATE TABLE closes (
    id INTEGER PRIMARY KEY,
    through TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    closed_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE close_balances (
    close_id INTEGER NOT NULL REFERENCES closes (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    debits_minor INTEGER NOT NULL CHECK (debits_minor >= 0),
    credits_minor INTEGER NOT NULL CHECK (credits_minor >= 0),
    PRIMARY KEY (close_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER closes_no_update BEFORE UPDATE ON closes
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
CREATE TRIGGER closes_no_delete BEFORE DELETE ON closes
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
CREATE TRIGGER closes_no_replace BEFORE INSERT ON closes
WHEN NEW.id <= (SELECT max(id) FROM closes) OR NEW.through <= (SELECT max(through) FROM closes)
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
CREATE TRIGGER close_balances_no_update BEFORE UPDATE ON close_balances
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
CREATE TRIGGER close_balances_no_delete BEFORE DELETE ON close_balances
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
CREATE TRIGGER close_balances_no_replace BEFORE INSERT ON close_balances
WHEN EXISTS (SELECT 1 FROM close_balances WHERE close_id = NEW.close_id AND account_id = NEW.account_id)
BEGIN SELECT RAISE(ABORT, 'closes are append-only'); END;
