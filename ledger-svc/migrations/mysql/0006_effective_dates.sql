-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for backdated_entries, backdated_days, closes, close_balances
--   GRANT UPDATE ON ledger.backdated_days TO 'ledger';

-- Entries whose effective date is not the day (UTC) they were booked on: listed, and summed by both days. All others
-- are found by when they were booked, so only what is backdated (or dated ahead) pays for it. Derived from transfers
-- and entries; forebay-ledger verify recomputes it.
CREATE TABLE backdated_entries (
    id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    effective_date VARCHAR(16) NOT NULL,
    number BIGINT NOT NULL,
    UNIQUE INDEX backdated_entries_by_date (account_id, effective_date, number)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE backdated_days (
    account_id BIGINT NOT NULL,
    effective_date VARCHAR(16) NOT NULL,
    booked_date VARCHAR(16) NOT NULL,
    debits_minor BIGINT NOT NULL CHECK (debits_minor >= 0),
    credits_minor BIGINT NOT NULL CHECK (credits_minor >= 0),
    entries BIGINT NOT NULL CHECK (entries >= 0),
    PRIMARY KEY (account_id, effective_date, booked_date)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO backdated_entries (id, account_id, effective_date, number)
SELECT e.id, e.account_id, t.effective_date, e.number
FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
WHERE t.effective_date <> CAST(DATE('1970-01-01' + INTERVAL (t.booked_at_us DIV 1000000) SECOND) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin;
INSERT INTO backdated_days (account_id, effective_date, booked_date, debits_minor, credits_minor, entries)
SELECT b.account_id, b.effective_date, CAST(DATE('1970-01-01' + INTERVAL (t.booked_at_us DIV 1000000) SECOND) AS CHAR CHARACTER SET utf8mb4) AS booked,
    sum(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE 0 END),
    sum(CASE WHEN e.direction = 'credit' THEN e.amount_minor ELSE 0 END), count(*)
FROM backdated_entries AS b JOIN entries AS e ON e.id = b.id JOIN transfers AS t ON t.seq = e.transfer_seq
GROUP BY b.account_id, b.effective_date, booked;

-- Periods that are closed: nothing with an effective date up to through is booked any more. Each close keeps every
-- account's totals of all entries up to that date, which the next period begins with.
CREATE TABLE closes (
    id BIGINT NOT NULL PRIMARY KEY,
    through VARCHAR(16) NOT NULL UNIQUE,
    description VARCHAR(500) NOT NULL,
    closed_at_us BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE close_balances (
    close_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    debits_minor BIGINT NOT NULL CHECK (debits_minor >= 0),
    credits_minor BIGINT NOT NULL CHECK (credits_minor >= 0),
    PRIMARY KEY (close_id, account_id),
    FOREIGN KEY (close_id) REFERENCES closes (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER closes_no_update BEFORE UPDATE ON closes
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closes are append-only';
CREATE TRIGGER closes_no_delete BEFORE DELETE ON closes
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closes are append-only';
CREATE TRIGGER close_balances_no_update BEFORE UPDATE ON close_balances
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closes are append-only';
CREATE TRIGGER close_balances_no_delete BEFORE DELETE ON close_balances
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'closes are append-only';
