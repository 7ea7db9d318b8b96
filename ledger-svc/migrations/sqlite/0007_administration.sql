-- API keys: only the SHA-256 of each is kept. Keys and revocations are links of the chain, as books are; when a key was
-- last used is no part of it.
CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role TEXT NOT NULL CHECK (role IN ('reader', 'poster', 'auditor', 'admin')),
    rate_per_second INTEGER CHECK (rate_per_second > 0),
    rate_burst INTEGER CHECK (rate_burst > 0),
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER
) STRICT;
CREATE TABLE api_key_revocations (
    key_id INTEGER PRIMARY KEY REFERENCES api_keys (id),
    revoked_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE api_key_uses (
    key_id INTEGER PRIMARY KEY REFERENCES api_keys (id),
    last_used_at_us INTEGER
) STRICT;
CREATE TRIGGER api_keys_no_update BEFORE UPDATE ON api_keys
BEGIN SELECT RAISE(ABORT, 'API keys are append-only'); END;
CREATE TRIGGER api_keys_no_delete BEFORE DELETE ON api_keys
BEGIN SELECT RAISE(ABORT, 'API keys are append-only'); END;
CREATE TRIGGER api_keys_no_replace BEFORE INSERT ON api_keys
WHEN NEW.id <= (SELECT max(id) FROM api_keys) OR EXISTS (SELECT 1 FROM api_keys WHERE hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'API keys are append-only'); END;
CREATE TRIGGER api_key_revocations_no_update BEFORE UPDATE ON api_key_revocations
BEGIN SELECT RAISE(ABORT, 'revocations are append-only'); END;
CREATE TRIGGER api_key_revocations_no_delete BEFORE DELETE ON api_key_revocations
BEGIN SELECT RAISE(ABORT, 'revocations are append-only'); END;
CREATE TRIGGER api_key_revocations_no_replace BEFORE INSERT ON api_key_revocations
WHEN EXISTS (SELECT 1 FROM api_key_revocations WHERE key_id = NEW.key_id)
BEGIN SELECT RAISE(ABORT, 'revocations are append-only'); END;

-- Every act of administration: who did what to what, and the particulars as a JSON object. A link of the chain each.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN NEW.id <= (SELECT max(id) FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
