-- What somebody else says of an account, such as a bank: a statement and its lines. Amounts are signed: what raises the
-- account's balance by its normal side is positive. A statement with its lines is a link of the chain.
CREATE TABLE external_statements (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    hash BLOB NOT NULL,
    opening_minor INTEGER,
    closing_minor INTEGER,
    first_date TEXT NOT NULL,
    last_date TEXT NOT NULL,
    line_count INTEGER NOT NULL,
    imported_at_us INTEGER NOT NULL,
    UNIQUE (account_id, hash)
) STRICT;
CREATE TABLE external_lines (
    id INTEGER PRIMARY KEY,
    statement_id INTEGER NOT NULL REFERENCES external_statements (id),
    number INTEGER NOT NULL,
    date TEXT NOT NULL,
    amount_minor INTEGER NOT NULL,
    reference TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (statement_id, number)
) STRICT;

-- Lines and entries that somebody, or a rule, found to be the same. With them a link of the chain. A match that was wrong is
-- taken back by a row of unmatches, which is a link too.
CREATE TABLE matches (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    matched_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX matches_by_account ON matches (account_id, id);
CREATE TABLE match_lines (
    match_id INTEGER NOT NULL,
    line_id INTEGER NOT NULL,
    PRIMARY KEY (match_id, line_id)
) STRICT;
CREATE INDEX match_lines_by_line ON match_lines (line_id);
CREATE TABLE match_entries (
    match_id INTEGER NOT NULL,
    entry_id INTEGER NOT NULL,
    PRIMARY KEY (match_id, entry_id)
) STRICT;
CREATE TABLE unmatches (
    match_id INTEGER PRIMARY KEY REFERENCES matches (id),
    reason TEXT NOT NULL,
    unmatched_at_us INTEGER NOT NULL
) STRICT;

-- Lines that no match has, and entries that one has. Derived; forebay-ledger verify recomputes both.
CREATE TABLE open_lines (
    line_id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL
) STRICT;
CREATE INDEX open_lines_by_account ON open_lines (account_id, line_id);
CREATE TABLE matched_entries (
    entry_id INTEGER PRIMARY KEY,
    match_id INTEGER NOT NULL
) STRICT;

CREATE TRIGGER external_statements_no_update BEFORE UPDATE ON external_statements
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_statements_no_delete BEFORE DELETE ON external_statements
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_statements_no_replace BEFORE INSERT ON external_statements
WHEN NEW.id <= (SELECT max(id) FROM external_statements)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_lines_no_update BEFORE UPDATE ON external_lines
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_lines_no_delete BEFORE DELETE ON external_lines
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER external_lines_no_replace BEFORE INSERT ON external_lines
WHEN NEW.id <= (SELECT max(id) FROM external_lines)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END;
CREATE TRIGGER matches_no_update BEFORE UPDATE ON matches
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER matches_no_delete BEFORE DELETE ON matches
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER matches_no_replace BEFORE INSERT ON matches
WHEN NEW.id <= (SELECT max(id) FROM matches)
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_lines_no_update BEFORE UPDATE ON match_lines
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_lines_no_delete BEFORE DELETE ON match_lines
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_lines_no_replace BEFORE INSERT ON match_lines
WHEN EXISTS (SELECT 1 FROM match_lines WHERE match_id = NEW.match_id AND line_id = NEW.line_id)
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_entries_no_update BEFORE UPDATE ON match_entries
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_entries_no_delete BEFORE DELETE ON match_entries
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER match_entries_no_replace BEFORE INSERT ON match_entries
WHEN EXISTS (SELECT 1 FROM match_entries WHERE match_id = NEW.match_id AND entry_id = NEW.entry_id)
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER unmatches_no_update BEFORE UPDATE ON unmatches
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER unmatches_no_delete BEFORE DELETE ON unmatches
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
CREATE TRIGGER unmatches_no_replace BEFORE INSERT ON unmatches
WHEN EXISTS (SELECT 1 FROM unmatches WHERE match_id = NEW.match_id)
BEGIN SELECT RAISE(ABORT, 'matches are append-only'); END;
