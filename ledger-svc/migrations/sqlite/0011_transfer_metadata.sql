-- Names and values that clients gave their transfers. Part of the transfer's link of the chain.
CREATE TABLE transfer_metadata (
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (transfer_seq, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX transfer_metadata_by_value ON transfer_metadata (name, value, transfer_seq);
CREATE TRIGGER transfer_metadata_no_update BEFORE UPDATE ON transfer_metadata
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
CREATE TRIGGER transfer_metadata_no_delete BEFORE DELETE ON transfer_metadata
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
CREATE TRIGGER transfer_metadata_no_replace BEFORE INSERT ON transfer_metadata
WHEN EXISTS (SELECT 1 FROM transfer_metadata WHERE transfer_seq = NEW.transfer_seq AND name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'metadata is append-only'); END;
