-- Accounts that are looked at together. A set has accounts and other sets; its totals are summed when they are read. Sets and
-- members are links of the chain.
CREATE TABLE account_sets (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE account_set_members (
    id INTEGER PRIMARY KEY,
    set_id INTEGER NOT NULL REFERENCES account_sets (id),
    account_id INTEGER REFERENCES accounts (id),
    member_set_id INTEGER REFERENCES account_sets (id),
    added_at_us INTEGER NOT NULL,
    UNIQUE (set_id, account_id),
    UNIQUE (set_id, member_set_id),
    CHECK ((account_id IS NULL) <> (member_set_id IS NULL))
) STRICT;
CREATE TRIGGER account_sets_no_update BEFORE UPDATE ON account_sets
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
CREATE TRIGGER account_sets_no_delete BEFORE DELETE ON account_sets
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
CREATE TRIGGER account_sets_no_replace BEFORE INSERT ON account_sets
WHEN NEW.id <= (SELECT max(id) FROM account_sets)
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
CREATE TRIGGER account_set_members_no_update BEFORE UPDATE ON account_set_members
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
CREATE TRIGGER account_set_members_no_delete BEFORE DELETE ON account_set_members
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
CREATE TRIGGER account_set_members_no_replace BEFORE INSERT ON account_set_members
WHEN NEW.id <= (SELECT max(id) FROM account_set_members)
BEGIN SELECT RAISE(ABORT, 'account sets are append-only'); END;
