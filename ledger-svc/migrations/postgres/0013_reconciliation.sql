-- The serving role needs more:
--   GRANT SELECT, INSERT ON external_statements, external_lines, matches, match_lines, match_entries, unmatches, open_lines, matched_entries TO ledger;
--   GRANT DELETE ON open_lines, matched_entries TO ledger;

-- What somebody else says of an account, such as a bank: a statement and its lines. Amounts are signed: what raises the
-- account's balance by its normal side is positive. A statement with its lines is a link of the chain.
CREATE TABLE external_statements (
    id bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    format text NOT NULL,
    hash bytea NOT NULL,
    opening_minor bigint,
    closing_minor bigint,
    first_date text NOT NULL,
    last_date text NOT NULL,
    line_count bigint NOT NULL,
    imported_at_us bigint NOT NULL,
    UNIQUE (account_id, hash)
);
CREATE TABLE external_lines (
    id bigint PRIMARY KEY,
    statement_id bigint NOT NULL REFERENCES external_statements (id),
    number bigint NOT NULL,
    date text NOT NULL,
    amount_minor bigint NOT NULL,
    reference text NOT NULL,
    text text NOT NULL,
    UNIQUE (statement_id, number)
);

-- Lines and entries that somebody, or a rule, found to be the same. With them a link of the chain. A match that was wrong is
-- taken back by a row of unmatches, which is a link too.
CREATE TABLE matches (
    id bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    rule text NOT NULL,
    reason text NOT NULL,
    matched_at_us bigint NOT NULL
);
CREATE INDEX matches_by_account ON matches (account_id, id);
CREATE TABLE match_lines (
    match_id bigint NOT NULL,
    line_id bigint NOT NULL,
    PRIMARY KEY (match_id, line_id)
);
CREATE INDEX match_lines_by_line ON match_lines (line_id);
CREATE TABLE match_entries (
    match_id bigint NOT NULL,
    entry_id bigint NOT NULL,
    PRIMARY KEY (match_id, entry_id)
);
CREATE TABLE unmatches (
    match_id bigint PRIMARY KEY REFERENCES matches (id),
    reason text NOT NULL,
    unmatched_at_us bigint NOT NULL
);

-- Lines that no match has, and entries that one has. Derived; forebay-ledger verify recomputes both.
CREATE TABLE open_lines (
    line_id bigint PRIMARY KEY,
    account_id bigint NOT NULL
);
CREATE INDEX open_lines_by_account ON open_lines (account_id, line_id);
CREATE TABLE matched_entries (
    entry_id bigint PRIMARY KEY,
    match_id bigint NOT NULL
);

CREATE TRIGGER external_statements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON external_statements
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('statements are append-only');
CREATE TRIGGER external_lines_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON external_lines
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('statements are append-only');
CREATE TRIGGER matches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON matches
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('matches are append-only');
CREATE TRIGGER match_lines_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON match_lines
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('matches are append-only');
CREATE TRIGGER match_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON match_entries
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('matches are append-only');
CREATE TRIGGER unmatches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON unmatches
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('matches are append-only');
