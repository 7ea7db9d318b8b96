-- The serving role needs more:
--   GRANT SELECT, INSERT ON api_keys, api_key_revocations, api_key_uses, audit_log TO ledger;
--   GRANT UPDATE ON api_key_uses TO ledger;

-- API keys: only the SHA-256 of each is kept. Keys and revocations are links of the chain, as books are; when a key was
-- last used is no part of it.
CREATE TABLE api_keys (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    role text NOT NULL CHECK (role IN ('reader', 'poster', 'auditor', 'admin')),
    rate_per_second bigint CHECK (rate_per_second > 0),
    rate_burst bigint CHECK (rate_burst > 0),
    created_at_us bigint NOT NULL,
    expires_at_us bigint
);
CREATE TABLE api_key_revocations (
    key_id bigint PRIMARY KEY REFERENCES api_keys (id),
    revoked_at_us bigint NOT NULL
);
CREATE TABLE api_key_uses (
    key_id bigint PRIMARY KEY REFERENCES api_keys (id),
    last_used_at_us bigint
);
CREATE TRIGGER api_keys_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON api_keys
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('API keys are append-only');
CREATE TRIGGER api_key_revocations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON api_key_revocations
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('revocations are append-only');

-- Every act of administration: who did what to what, and the particulars as a JSON object. A link of the chain each.
CREATE TABLE audit_log (
    id bigint PRIMARY KEY,
    at_us bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('the audit log is append-only');
