-- The serving role needs one more grant:  GRANT SELECT, INSERT ON account_metadata TO ledger;

-- Names and values that clients gave their accounts. Part of the account's link of the chain.
CREATE TABLE account_metadata (
    account_id bigint NOT NULL REFERENCES accounts (id),
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, name)
);
CREATE INDEX account_metadata_by_value ON account_metadata (name, value, account_id);
CREATE TRIGGER account_metadata_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_metadata
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('metadata is append-only');
