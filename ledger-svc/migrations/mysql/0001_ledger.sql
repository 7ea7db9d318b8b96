-- Who may do what. Migrate as an administrator (CREATE, ALTER, DROP, INDEX, REFERENCES, TRIGGER, and where the
-- binary log is on also log_bin_trust_function_creators = 1); serve as a user that has only
--   GRANT SELECT ON ledger.* TO 'ledger';
--   GRANT INSERT ON ledger.T TO 'ledger';   for currencies, accounts, balances, transfers, entries, idempotency_keys
--   GRANT UPDATE ON ledger.T TO 'ledger';   for balances, service
-- and start it with --no-migrate. The triggers below hold against mistakes; the grants hold against
-- TRUNCATE, which fires no trigger here, and against somebody who would drop the triggers first.

-- One byte order for all text, so that every engine lists in the same order.
CREATE TABLE currencies (
    code VARCHAR(12) NOT NULL PRIMARY KEY,
    scale SMALLINT NOT NULL CHECK (scale BETWEEN 0 AND 12)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE accounts (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    code VARCHAR(128) NOT NULL UNIQUE,
    name VARCHAR(200) NOT NULL,
    currency VARCHAR(12) NOT NULL,
    normal_balance VARCHAR(6) NOT NULL CHECK (normal_balance IN ('debit', 'credit')),
    created_at_us BIGINT NOT NULL,
    FOREIGN KEY (currency) REFERENCES currencies (code)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Apart from accounts, so that accounts can be immutable and a balance update stays small.
CREATE TABLE balances (
    account_id BIGINT NOT NULL PRIMARY KEY,
    debits_minor BIGINT NOT NULL CHECK (debits_minor >= 0),
    credits_minor BIGINT NOT NULL CHECK (credits_minor >= 0),
    entries BIGINT NOT NULL CHECK (entries >= 0),
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- seq orders transfers and has no gaps; the entries of a transfer are the ids
-- entry_id_first .. entry_id_first + entries - 1, which saves an index on entries. The date is text
-- because the API takes years that the DATE type does not.
CREATE TABLE transfers (
    seq BIGINT NOT NULL PRIMARY KEY,
    id BINARY(16) NOT NULL UNIQUE,
    description VARCHAR(500) NOT NULL,
    effective_date VARCHAR(16) NOT NULL,
    booked_at_us BIGINT NOT NULL,
    entry_id_first BIGINT NOT NULL,
    entries BIGINT NOT NULL CHECK (entries >= 2)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- number counts the entries of one account from 1 without gaps; *_after are the account's totals
-- with this entry, so that a running balance needs no summing. transfer_seq is no foreign key here
-- (nor below): InnoDB would keep an index of its own for it, on the largest table.
CREATE TABLE entries (
    id BIGINT NOT NULL PRIMARY KEY,
    transfer_seq BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 1),
    direction VARCHAR(6) NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    debits_after_minor BIGINT NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor BIGINT NOT NULL CHECK (credits_after_minor >= 0),
    UNIQUE (account_id, number),
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The first answer to every key, kept byte for byte.
CREATE TABLE idempotency_keys (
    `key` VARCHAR(255) NOT NULL PRIMARY KEY,
    fingerprint BINARY(32) NOT NULL,
    transfer_seq BIGINT NOT NULL,
    status SMALLINT NOT NULL,
    body MEDIUMTEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- epoch grows with every service start; a writer that finds another epoch has been replaced.
CREATE TABLE service (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    probed_at_us BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO service (id, epoch, probed_at_us) VALUES (1, 0, 0);

-- REPLACE deletes, and ON DUPLICATE KEY updates: these cover both.
CREATE TRIGGER transfers_no_update BEFORE UPDATE ON transfers
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'transfers are append-only';
CREATE TRIGGER transfers_no_delete BEFORE DELETE ON transfers
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'transfers are append-only';
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only';
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'entries are append-only';
CREATE TRIGGER idempotency_keys_no_update BEFORE UPDATE ON idempotency_keys
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'answers are never changed';
CREATE TRIGGER idempotency_keys_no_delete BEFORE DELETE ON idempotency_keys
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'answers are never changed';
CREATE TRIGGER accounts_no_update BEFORE UPDATE ON accounts
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'accounts are never changed';
CREATE TRIGGER accounts_no_delete BEFORE DELETE ON accounts
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'accounts are never changed';
CREATE TRIGGER currencies_no_update BEFORE UPDATE ON currencies
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'currencies are never changed';
CREATE TRIGGER currencies_no_delete BEFORE DELETE ON currencies
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'currencies are never changed';
