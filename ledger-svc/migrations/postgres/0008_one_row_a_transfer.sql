-- A transfer's key, the fingerprint of its request and its link of the chain are in its own row from now on: two rows
-- and two index entries less for every transfer. idempotency_keys and chain keep what earlier versions wrote there,
-- and chain goes on taking the links of everything else. The first answer follows from the transfer.
ALTER TABLE transfers
    ADD COLUMN key text COLLATE "C",
    ADD COLUMN fingerprint bytea CHECK (length(fingerprint) = 32),
    ADD COLUMN link_seq bigint,
    ADD COLUMN link bytea CHECK (length(link) = 32);
CREATE UNIQUE INDEX transfers_key ON transfers (key);

-- The writer updates the balance of every account an entry is on, in the same SQL transaction, and counts the rows: an
-- account that is not there fails the batch already. verify holds the rest.
DROP TRIGGER entries_accounts_exist ON entries;
