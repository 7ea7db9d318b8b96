-- The serving role needs one more grant:  GRANT SELECT, INSERT ON transfer_metadata TO ledger;

-- Names and values that clients gave their transfers. Part of the transfer's link of the chain. Written in the SQL
-- transaction of the transfer, as entries are, so transfer_seq is no foreign key; verify finds strays.
CREATE TABLE transfer_metadata (
    transfer_seq bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (transfer_seq, name)
);
CREATE INDEX transfer_metadata_by_value ON transfer_metadata (name, value, transfer_seq);
CREATE TRIGGER transfer_metadata_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer_metadata
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('metadata is append-only');
