-- The serving role needs more:
--   GRANT SELECT, INSERT ON backdated_entries, backdated_days, closes, close_balances TO ledger;
--   GRANT UPDATE ON backdated_days TO ledger;

-- Entries whose effective date is not the day (UTC) they were booked on: listed, and summed by both days. All others
-- are found by when they were booked, so only what is backdated (or dated ahead) pays for it. Derived from transfers
-- and entries; forebay-ledger verify recomputes it.
CREATE TABLE backdated_entries (
    id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    effective_date text COLLATE "C" NOT NULL,
    number bigint NOT NULL
);
CREATE UNIQUE INDEX backdated_entries_by_date ON backdated_entries (account_id, effective_date, number);
CREATE TABLE backdated_days (
    account_id bigint NOT NULL,
    effective_date text COLLATE "C" NOT NULL,
    booked_date text COLLATE "C" NOT NULL,
    debits_minor bigint NOT NULL CHECK (debits_minor >= 0),
    credits_minor bigint NOT NULL CHECK (credits_minor >= 0),
    entries bigint NOT NULL CHECK (entries >= 0),
    PRIMARY KEY (account_id, effective_date, booked_date)
);
INSERT INTO backdated_entries (id, account_id, effective_date, number)
SELECT e.id, e.account_id, t.effective_date, e.number
FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
WHERE t.effective_date <> to_char(to_timestamp(t.booked_at_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD');
INSERT INTO backdated_days (account_id, effective_date, booked_date, debits_minor, credits_minor, entries)
SELECT b.account_id, b.effective_date, to_char(to_timestamp(t.booked_at_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS booked,
    sum(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE 0 END),
    sum(CASE WHEN e.direction = 'credit' THEN e.amount_minor ELSE 0 END), count(*)
FROM backdated_entries AS b JOIN entries AS e ON e.id = b.id JOIN transfers AS t ON t.seq = e.transfer_seq
GROUP BY b.account_id, b.effective_date, booked;

-- Periods that are closed: nothing with an effective date up to through is booked any more. Each close keeps every
-- account's totals of all entries up to that date, which the next period begins with.
CREATE TABLE closes (
    id bigint PRIMARY KEY,
    through text COLLATE "C" NOT NULL UNIQUE,
    description text NOT NULL,
    closed_at_us bigint NOT NULL
);
CREATE TABLE close_balances (
    close_id bigint NOT NULL REFERENCES closes (id),
    account_id bigint NOT NULL REFERENCES accounts (id),
    debits_minor bigint NOT NULL CHECK (debits_minor >= 0),
    credits_minor bigint NOT NULL CHECK (credits_minor >= 0),
    PRIMARY KEY (close_id, account_id)
);
CREATE TRIGGER closes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON closes
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('closes are append-only');
CREATE TRIGGER close_balances_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON close_balances
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('closes are append-only');
