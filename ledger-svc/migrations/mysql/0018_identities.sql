-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for external_repeats, external_withdrawals

-- What a bank tells a line from all others by. A statement that overlaps with an earlier one has lines that are there already:
-- they are no lines once more but repeats, by the number they have in the statement, of the line they are.
ALTER TABLE external_lines ADD COLUMN identity VARCHAR(140) NOT NULL DEFAULT '';
CREATE TABLE external_repeats (
    statement_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    line_id BIGINT NOT NULL,
    PRIMARY KEY (statement_id, number),
    INDEX external_repeats_by_line (line_id),
    FOREIGN KEY (statement_id) REFERENCES external_statements (id),
    FOREIGN KEY (line_id) REFERENCES external_lines (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A statement that should not have been imported is withdrawn by a row, which is a link of the chain: its lines are open no more.
CREATE TABLE external_withdrawals (
    statement_id BIGINT NOT NULL PRIMARY KEY,
    reason VARCHAR(200) NOT NULL,
    withdrawn_at_us BIGINT NOT NULL,
    FOREIGN KEY (statement_id) REFERENCES external_statements (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TRIGGER external_repeats_no_update BEFORE UPDATE ON external_repeats
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_repeats_no_delete BEFORE DELETE ON external_repeats
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_withdrawals_no_update BEFORE UPDATE ON external_withdrawals
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
CREATE TRIGGER external_withdrawals_no_delete BEFORE DELETE ON external_withdrawals
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'statements are append-only';
