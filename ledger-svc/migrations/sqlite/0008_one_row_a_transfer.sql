-- A transfer's key, the fingerprint of its request and its link of the chain are in its own row from now on: two rows
-- and two index entries less for every transfer. idempotency_keys and chain keep what earlier versions wrote there,
-- and chain goes on taking the links of everything else. The first answer follows from the transfer.
ALTER TABLE transfers ADD COLUMN key TEXT;
ALTER TABLE transfers ADD COLUMN fingerprint BLOB CHECK (length(fingerprint) = 32);
ALTER TABLE transfers ADD COLUMN link_seq INTEGER;
ALTER TABLE transfers ADD COLUMN link BLOB CHECK (length(link) = 32);
CREATE UNIQUE INDEX transfers_key ON transfers (key);
DROP TRIGGER transfers_no_replace;
CREATE TRIGGER transfers_no_replace BEFORE INSERT ON transfers
WHEN NEW.seq <= (SELECT max(seq) FROM transfers)
    OR EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM transfers WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END;
