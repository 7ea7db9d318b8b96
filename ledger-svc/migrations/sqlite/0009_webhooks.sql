-- Who is told what is booked. Endpoints and removals are links of the chain; how far each has come is no part of it. The
-- secret is kept as it is, because deliveries are signed with it.
CREATE TABLE webhook_endpoints (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    secret BLOB NOT NULL,
    after_seq INTEGER NOT NULL CHECK (after_seq >= 0),
    created_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE webhook_removals (
    endpoint_id INTEGER PRIMARY KEY REFERENCES webhook_endpoints (id),
    removed_at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE webhook_progress (
    endpoint_id INTEGER PRIMARY KEY REFERENCES webhook_endpoints (id),
    delivered_seq INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    next_attempt_at_us INTEGER,
    suspended_at_us INTEGER,
    error TEXT NOT NULL
) STRICT;
CREATE TRIGGER webhook_endpoints_no_update BEFORE UPDATE ON webhook_endpoints
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
CREATE TRIGGER webhook_endpoints_no_delete BEFORE DELETE ON webhook_endpoints
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
CREATE TRIGGER webhook_endpoints_no_replace BEFORE INSERT ON webhook_endpoints
WHEN NEW.id <= (SELECT max(id) FROM webhook_endpoints)
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
CREATE TRIGGER webhook_removals_no_update BEFORE UPDATE ON webhook_removals
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
CREATE TRIGGER webhook_removals_no_delete BEFORE DELETE ON webhook_removals
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
CREATE TRIGGER webhook_removals_no_replace BEFORE INSERT ON webhook_removals
WHEN EXISTS (SELECT 1 FROM webhook_removals WHERE endpoint_id = NEW.endpoint_id)
BEGIN SELECT RAISE(ABORT, 'webhooks are append-only'); END;
