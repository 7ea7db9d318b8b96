-- The serving user needs more:
--   GRANT SELECT, INSERT ON external_repeats, external_withdrawals TO ledger;

-- What a bank tells a line from all others by. A statement that overlaps with an earlier one has lines that are there already:
-- they are no lines once more but repeats, by the number they have in the statement, of the line they are.
ALTER TABLE external_lines ADD COLUMN identity text NOT NULL DEFAULT '';
CREATE TABLE external_repeats (
    statement_id bigint NOT NULL REFERENCES external_statements (id),
    number bigint NOT NULL,
    line_id bigint NOT NULL REFERENCES external_lines (id),
    PRIMARY KEY (statement_id, number)
);
CREATE INDEX external_repeats_by_line ON external_repeats (line_id);

-- A statement that should not have been imported is withdrawn by a row, which is a link of the chain: its lines are open no more.
CREATE TABLE external_withdrawals (
    statement_id bigint PRIMARY KEY REFERENCES external_statements (id),
    reason text NOT NULL,
    withdrawn_at_us bigint NOT NULL
);

CREATE TRIGGER external_repeats_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON external_repeats
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('statements are append-only');
CREATE TRIGGER external_withdrawals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON external_withdrawals
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('statements are append-only');
