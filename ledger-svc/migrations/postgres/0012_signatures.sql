-- The serving role needs more:
--   GRANT SELECT, INSERT ON head_signatures TO ledger;

-- The chain's head signed with a key that is kept outside the database (Ed25519): whoever rewrites the chain needs it. Each
-- signature is a link of the chain itself, so that none can be taken away.
CREATE TABLE head_signatures (
    id bigint PRIMARY KEY,
    head_seq bigint NOT NULL,
    head_hash bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    signed_at_us bigint NOT NULL
);
CREATE TRIGGER head_signatures_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON head_signatures
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('signatures are append-only');
