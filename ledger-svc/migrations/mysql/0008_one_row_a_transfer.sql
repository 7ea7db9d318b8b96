-- A transfer's key, the fingerprint of its request and its link of the chain are in its own row from now on: two rows
-- and two index entries less for every transfer. idempotency_keys and chain keep what earlier versions wrote there,
-- and chain goes on taking the links of everything else. The first answer follows from the transfer.
ALTER TABLE transfers
    ADD COLUMN `key` VARCHAR(255),
    ADD COLUMN fingerprint BINARY(32),
    ADD COLUMN link_seq BIGINT,
    ADD COLUMN link BINARY(32),
    ADD UNIQUE INDEX transfers_key (`key`);

-- The writer puts the balance of every account an entry is on, in the same SQL transaction, and that table's foreign
-- key stays: an account that is not there fails the batch already. verify holds the rest.
ALTER TABLE entries DROP FOREIGN KEY entries_ibfk_1;
