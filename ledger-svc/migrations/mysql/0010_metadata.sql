-- The serving user needs one more grant:  GRANT INSERT ON ledger.account_metadata TO 'ledger';

-- Names and values that clients gave their accounts. Part of the account's link of the chain.
CREATE TABLE account_metadata (
    account_id BIGINT NOT NULL,
    name VARCHAR(40) NOT NULL,
    value VARCHAR(200) NOT NULL,
    PRIMARY KEY (account_id, name),
    INDEX account_metadata_by_value (name, value, account_id),
    FOREIGN KEY (account_id) REFERENCES accounts (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER account_metadata_no_update BEFORE UPDATE ON account_metadata
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'metadata is append-only';
CREATE TRIGGER account_metadata_no_delete BEFORE DELETE ON account_metadata
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'metadata is append-only';
