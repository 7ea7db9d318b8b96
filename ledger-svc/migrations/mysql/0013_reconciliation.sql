-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for external_statements, external_lines, matches, match_lines, match_entries, unmatches, open_lines, matched_entries
--   GRANT DELETE ON ledger.T TO 'ledger';   for open_lines, matched_entries

-- What somebody else says of an account, such as a bank: a statement and its lines. Amounts are signed: what raises the
-- account's balance by its normal side is positive. A statement with its lines is a link of the chain.
CREATE TABLE external_statements (
    id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    name VARCHAR(200) NOT NULL,
    format VARCHAR(16) NOT NULL,
    hash BINARY(32) NOT NULL,
    opening_minor BIGINT,
    closing_minor BIGINT,
    first_date VARCHAR(16) NOT NULL,
    last_date VARCHAR(16) NOT NULL,
    line_count BIGINT NOT NULL,
    imported_at_us BIGINT NOT NULL,
    UNIQUE (account_id, hash),
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE external_lines (
    id BIGINT NOT NULL PRIMARY KEY,
    statement_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    date VARCHAR(16) NOT NULL,
    amount_minor BIGINT NOT NULL,
    reference VARCHAR(140) NOT NULL,
    `text` VARCHAR(500) NOT NULL,
    UNIQUE (statement_id, number),
    FOREIGN KEY (statement_id) REFERENCES external_statements (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Lines and entries that somebody, or a rule, found to be the same. With them a link of the chain. A match that was wrong is
-- taken back by a row of unmatches, which is a link too.
CREATE TABLE matches (
    id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    `rule` VARCHAR(16) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    matched_at_us BIGINT NOT NULL,
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE match_lines (
    match_id BIGINT NOT NULL,
    line_id BIGINT NOT NULL,
    PRIMARY KEY (match_id, line_id),
    INDEX match_lines_by_line (line_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE match_entries (
    match_id BIGINT NOT NULL,
    entry_id BIGINT NOT NULL,
    PRIMARY KEY (match_id, entry_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE unmatches (
    match_id BIGINT NOT NULL PRIMARY KEY,
    reason VARCHAR(200) NOT NULL,
    unmatched_at_us BIGINT NOT NULL,
    FOREIGN KEY (match_id) REFERENCES matches (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Lines that no match has, and entries that one has. Derived; forebay-ledger verify recomputes both.
CREATE TABLE open_lines (
    line_id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    INDEX open_lines_by_account (account_id, line_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE matched_entries (
    entry_id BIGINT NOT NULL PRIMARY KEY,
    match_id BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TRIGGER external_statements_no_update BEFORE UPDATE ON external_statements
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_statements_no_delete BEFORE DELETE ON external_statements
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_lines_no_update BEFORE UPDATE ON external_lines
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_lines_no_delete BEFORE DELETE ON external_lines
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER matches_no_update BEFORE UPDATE ON matches
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER matches_no_delete BEFORE DELETE ON matches
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER match_lines_no_update BEFORE UPDATE ON match_lines
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER match_lines_no_delete BEFORE DELETE ON match_lines
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER match_entries_no_update BEFORE UPDATE ON match_entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER match_entries_no_delete BEFORE DELETE ON match_entries
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER unmatches_no_update BEFORE UPDATE ON unmatches
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
CREATE TRIGGER unmatches_no_delete BEFORE DELETE ON unmatches
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'matches are append-only';
