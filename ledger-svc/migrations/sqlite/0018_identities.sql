-- What a bank tells a line from all others by. A statement that overlaps with an earlier one has lines that are there already:
-- they are no lines once more but repeats, by the number they have in the statement, of the line they are.
ALTER TABLE external_lines ADD COLUMN identity TEXT NOT NULL DEFAULT '';
CREATE TABLE external_repeats (
    statement_id INTEGER NOT NULL REFERENCES external_statements (id),
    number INTEGER NOT NULL,
    line_id INTEGER NOT NULL REFERENCES external_lines (id),
    PRIMARY KEY (statement_id, number)
) STRICT;
CREATE INDEX external_repeats_by_line ON external_repeats (line_id);

-- A statement that should not have been imported is withdrawn by a row, which is a link of the chain: its lines are open no more.
CREATE TABLE external_withdrawals (
    statement_id INTEGER PRIMARY KEY REFERENCES external_statements (id),
    reason TEXT NOT NULL,
    withdrawn_at_us INTEGER NOT NULL
) STRICT;

CREATE TRIGGER external_repeats_no_update BEFORE UPDATE ON external_repeats
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_repeats_no_delete BEFORE DELETE ON external_repeats
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_repeats_no_replace BEFORE INSERT ON external_repeats
WHEN EXISTS (SELECT 1 FROM external_repeats WHERE statement_id = NEW.statement_id AND number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_withdrawals_no_update BEFORE UPDATE ON external_withdrawals
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_withdrawals_no_delete BEFORE DELETE ON external_withdrawals
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_withdrawals_no_replace BEFORE INSERT ON external_withdrawals
WHEN EXISTS (SELECT 1 FROM external_withdrawals WHERE statement_id = NEW.statement_id)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
