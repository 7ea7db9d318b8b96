-- The serving role needs one more grant:  GRANT SELECT, INSERT ON account_sets, account_set_members TO ledger;

-- Accounts that are looked at together. A set has accounts and other sets; its totals are summed when they are read. Sets and
-- members are links of the chain.
CREATE TABLE account_sets (
    id bigint PRIMARY KEY,
    code text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    created_at_us bigint NOT NULL
);
CREATE TABLE account_set_members (
    id bigint PRIMARY KEY,
    set_id bigint NOT NULL REFERENCES account_sets (id),
    account_id bigint REFERENCES accounts (id),
    member_set_id bigint REFERENCES account_sets (id),
    added_at_us bigint NOT NULL,
    UNIQUE (set_id, account_id),
    UNIQUE (set_id, member_set_id),
    CHECK ((account_id IS NULL) <> (member_set_id IS NULL))
);
CREATE TRIGGER account_sets_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_sets
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('account sets are append-only');
CREATE TRIGGER account_set_members_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_set_members
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('account sets are append-only');
