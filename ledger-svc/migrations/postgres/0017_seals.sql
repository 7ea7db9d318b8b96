-- What changes is no link of the chain. Its rows bear the seal of what they say from now on, which the service gives the
-- rows there are when it migrates; rows_to_seal is dropped when all of them have theirs.
ALTER TABLE service ADD COLUMN seal text NOT NULL DEFAULT '';
ALTER TABLE api_key_uses ADD COLUMN seal text NOT NULL DEFAULT '';
ALTER TABLE webhook_progress ADD COLUMN seal text NOT NULL DEFAULT '';
CREATE TABLE rows_to_seal (id bigint PRIMARY KEY);
