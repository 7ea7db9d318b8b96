-- The chain's head signed with a key that is kept outside the database (Ed25519): whoever rewrites the chain needs it. Each
-- signature is a link of the chain itself, so that none can be taken away.
CREATE TABLE head_signatures (
    id INTEGER PRIMARY KEY,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL,
    signed_at_us INTEGER NOT NULL
) STRICT;
CREATE TRIGGER head_signatures_no_update BEFORE UPDATE ON head_signatures
BEGIN SELECT RAISE(ABORT, 'signatures are append-only'); END;
CREATE TRIGGER head_signatures_no_delete BEFORE DELETE ON head_signatures
BEGIN SELECT RAISE(ABORT, 'signatures are append-only'); END;
CREATE TRIGGER head_signatures_no_replace BEFORE INSERT ON head_signatures
WHEN NEW.id <= (SELECT max(id) FROM head_signatures)
BEGIN SELECT RAISE(ABORT, 'signatures are append-only'); END;
