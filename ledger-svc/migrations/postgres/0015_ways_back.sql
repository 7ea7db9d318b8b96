-- An account's entries are found by going back from its last one from now on: each points at the one before it and at
-- one further back. The unique index over accounts and numbers that found them was a page changed anywhere in it for
-- every entry. The service gives the entries there are their ways back when it migrates, and drops entries_before when
-- all of them have theirs.
ALTER TABLE entries RENAME TO entries_before;
ALTER INDEX entries_pkey RENAME TO entries_before_pkey;
CREATE TABLE entries (
    id bigint CONSTRAINT entries_pkey PRIMARY KEY,
    transfer_seq bigint NOT NULL,
    account_id bigint NOT NULL,
    number bigint NOT NULL CHECK (number >= 1),
    direction text NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    debits_after_minor bigint NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor bigint NOT NULL CHECK (credits_after_minor >= 0),
    previous_id bigint NOT NULL,
    jump_id bigint NOT NULL,
    CHECK (jump_id <= previous_id AND previous_id < id)
);
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('entries are append-only');

-- Who was allowed something with the table is allowed it with the one in its place.
DO $$
DECLARE
    held record;
BEGIN
    FOR held IN
        SELECT grantee, privilege_type FROM information_schema.table_privileges
        WHERE table_schema = current_schema() AND table_name = 'entries_before' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT %s ON entries TO %s', held.privilege_type,
            CASE held.grantee WHEN 'PUBLIC' THEN 'PUBLIC' ELSE quote_ident(held.grantee) END);
    END LOOP;
END $$;

-- Where the way back begins; 0 of an account without entries.
ALTER TABLE balances ADD COLUMN last_entry_id bigint NOT NULL DEFAULT 0;
UPDATE balances AS b SET last_entry_id = e.id
FROM entries_before AS e WHERE e.account_id = b.account_id AND e.number = b.entries;
