-- Who may do what. Migrate as the owner of these tables; serve as a role that owns nothing and has
--   GRANT SELECT, INSERT ON currencies, accounts, balances, transfers, entries, idempotency_keys TO ledger;
--   GRANT UPDATE ON balances, service TO ledger; GRANT SELECT ON service, _sqlx_migrations TO ledger;
-- and start it with --no-migrate. The triggers below hold against the owner's own mistakes as well;
-- the grants hold against somebody who would drop the triggers first.

-- Codes and keys compare byte by byte whatever the database's locale, so that every engine lists in
-- the same order.
CREATE TABLE currencies (
    code text COLLATE "C" PRIMARY KEY,
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 12)
);

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    currency text COLLATE "C" NOT NULL REFERENCES currencies (code),
    normal_balance text NOT NULL CHECK (normal_balance IN ('debit', 'credit')),
    created_at_us bigint NOT NULL
);

-- Apart from accounts, so that accounts can be immutable and a balance update stays small. Room in
-- each page keeps an update on it, without touching the index.
CREATE TABLE balances (
    account_id bigint PRIMARY KEY REFERENCES accounts (id),
    debits_minor bigint NOT NULL CHECK (debits_minor >= 0),
    credits_minor bigint NOT NULL CHECK (credits_minor >= 0),
    entries bigint NOT NULL CHECK (entries >= 0)
) WITH (fillfactor = 50);

-- seq orders transfers and has no gaps; the entries of a transfer are the ids
-- entry_id_first .. entry_id_first + entries - 1, which saves an index on entries. The date is text
-- because the API takes years that the date type writes otherwise.
CREATE TABLE transfers (
    seq bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    description text NOT NULL,
    effective_date text COLLATE "C" NOT NULL,
    booked_at_us bigint NOT NULL,
    entry_id_first bigint NOT NULL,
    entries bigint NOT NULL CHECK (entries >= 2)
);

-- number counts the entries of one account from 1 without gaps; *_after are the account's totals
-- with this entry, so that a running balance needs no summing.
CREATE TABLE entries (
    id bigint PRIMARY KEY,
    transfer_seq bigint NOT NULL REFERENCES transfers (seq),
    account_id bigint NOT NULL REFERENCES accounts (id),
    number bigint NOT NULL CHECK (number >= 1),
    direction text NOT NULL CHECK (direction IN ('debit', 'credit')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    debits_after_minor bigint NOT NULL CHECK (debits_after_minor >= 0),
    credits_after_minor bigint NOT NULL CHECK (credits_after_minor >= 0),
    UNIQUE (account_id, number)
);

-- The first answer to every key, kept byte for byte.
CREATE TABLE idempotency_keys (
    key text COLLATE "C" PRIMARY KEY,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    transfer_seq bigint NOT NULL REFERENCES transfers (seq),
    status smallint NOT NULL,
    body text NOT NULL
);

-- epoch grows with every service start; a writer that finds another epoch has been replaced.
CREATE TABLE service (
    id bigint PRIMARY KEY CHECK (id = 1),
    epoch bigint NOT NULL,
    probed_at_us bigint NOT NULL
);
INSERT INTO service (id, epoch, probed_at_us) VALUES (1, 0, 0);

CREATE FUNCTION forebay_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;

CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('transfers are append-only');
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('entries are append-only');
CREATE TRIGGER idempotency_keys_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON idempotency_keys
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('answers are never changed');
CREATE TRIGGER accounts_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('accounts are never changed');
CREATE TRIGGER currencies_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON currencies
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('currencies are never changed');
