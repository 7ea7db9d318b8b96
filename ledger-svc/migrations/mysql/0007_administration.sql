-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for api_keys, api_key_revocations, api_key_uses, audit_log
--   GRANT UPDATE ON ledger.api_key_uses TO 'ledger';

-- API keys: only the SHA-256 of each is kept. Keys and revocations are links of the chain, as books are; when a key was
-- last used is no part of it.
CREATE TABLE api_keys (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(200) NOT NULL,
    prefix VARCHAR(16) NOT NULL,
    hash BINARY(32) NOT NULL UNIQUE,
    role VARCHAR(8) NOT NULL CHECK (role IN ('reader', 'poster', 'auditor', 'admin')),
    rate_per_second BIGINT CHECK (rate_per_second > 0),
    rate_burst BIGINT CHECK (rate_burst > 0),
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE api_key_revocations (
    key_id BIGINT NOT NULL PRIMARY KEY,
    revoked_at_us BIGINT NOT NULL,
    FOREIGN KEY (key_id) REFERENCES api_keys (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE api_key_uses (
    key_id BIGINT NOT NULL PRIMARY KEY,
    last_used_at_us BIGINT,
    FOREIGN KEY (key_id) REFERENCES api_keys (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER api_keys_no_update BEFORE UPDATE ON api_keys
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'API keys are append-only';
CREATE TRIGGER api_keys_no_delete BEFORE DELETE ON api_keys
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'API keys are append-only';
CREATE TRIGGER api_key_revocations_no_update BEFORE UPDATE ON api_key_revocations
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'revocations are append-only';
CREATE TRIGGER api_key_revocations_no_delete BEFORE DELETE ON api_key_revocations
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'revocations are append-only';

-- Every act of administration: who did what to what, and the particulars as a JSON object. A link of the chain each.
CREATE TABLE audit_log (
    id BIGINT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    actor VARCHAR(40) NOT NULL,
    action VARCHAR(40) NOT NULL,
    subject VARCHAR(200) NOT NULL,
    detail TEXT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit log is append-only';
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit log is append-only';
