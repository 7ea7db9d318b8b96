-- The serving user needs one more grant:  GRANT INSERT ON ledger.transfer_metadata TO 'ledger';

-- Names and values that clients gave their transfers. Part of the transfer's link of the chain. Written in the SQL
-- transaction of the transfer, as entries are, so transfer_seq is no foreign key; verify finds strays.
CREATE TABLE transfer_metadata (
    transfer_seq BIGINT NOT NULL,
    name VARCHAR(40) NOT NULL,
    value VARCHAR(200) NOT NULL,
    PRIMARY KEY (transfer_seq, name),
    INDEX transfer_metadata_by_value (name, value, transfer_seq)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER transfer_metadata_no_update BEFORE UPDATE ON transfer_metadata
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'metadata is append-only';
CREATE TRIGGER transfer_metadata_no_delete BEFORE DELETE ON transfer_metadata
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'metadata is append-only';
