-- The serving user needs one more grant:  GRANT INSERT ON ledger.chain TO 'ledger';

-- One link for each currency, account, setting of limits and transfer: SHA-256 over the link before it and all the
-- columns of its subject, such as 'transfer:12'. What was booked before is chained by the service when it migrates.
CREATE TABLE chain (
    seq BIGINT NOT NULL PRIMARY KEY,
    subject VARCHAR(40) NOT NULL,
    hash BINARY(32) NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER chain_no_update BEFORE UPDATE ON chain
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the chain is append-only';
CREATE TRIGGER chain_no_delete BEFORE DELETE ON chain
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the chain is append-only';

-- A key is part of its transfer's link, and is found from there.
CREATE UNIQUE INDEX idempotency_keys_transfer_seq ON idempotency_keys (transfer_seq);
