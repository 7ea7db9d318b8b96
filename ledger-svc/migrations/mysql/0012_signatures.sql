-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for head_signatures

-- The chain's head signed with a key that is kept outside the database (Ed25519): whoever rewrites the chain needs it. Each
-- signature is a link of the chain itself, so that none can be taken away.
CREATE TABLE head_signatures (
    id BIGINT NOT NULL PRIMARY KEY,
    head_seq BIGINT NOT NULL,
    head_hash BINARY(32) NOT NULL,
    public_key BINARY(32) NOT NULL,
    signature BINARY(64) NOT NULL,
    signed_at_us BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER head_signatures_no_update BEFORE UPDATE ON head_signatures
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'signatures are append-only';
CREATE TRIGGER head_signatures_no_delete BEFORE DELETE ON head_signatures
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'signatures are append-only';
