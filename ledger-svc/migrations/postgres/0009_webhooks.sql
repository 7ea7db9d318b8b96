-- The serving role needs more:
--   GRANT SELECT, INSERT ON webhook_endpoints, webhook_removals, webhook_progress TO ledger;
--   GRANT UPDATE ON webhook_progress TO ledger;

-- Who is told what is booked. Endpoints and removals are links of the chain; how far each has come is no part of it. The
-- secret is kept as it is, because deliveries are signed with it.
CREATE TABLE webhook_endpoints (
    id bigint PRIMARY KEY,
    url text NOT NULL,
    description text NOT NULL,
    secret bytea NOT NULL,
    after_seq bigint NOT NULL CHECK (after_seq >= 0),
    created_at_us bigint NOT NULL
);
CREATE TABLE webhook_removals (
    endpoint_id bigint PRIMARY KEY REFERENCES webhook_endpoints (id),
    removed_at_us bigint NOT NULL
);
CREATE TABLE webhook_progress (
    endpoint_id bigint PRIMARY KEY REFERENCES webhook_endpoints (id),
    delivered_seq bigint NOT NULL,
    failures bigint NOT NULL,
    next_attempt_at_us bigint,
    suspended_at_us bigint,
    error text NOT NULL
);
CREATE TRIGGER webhook_endpoints_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_endpoints
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('webhooks are append-only');
CREATE TRIGGER webhook_removals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_removals
FOR EACH STATEMENT EXECUTE FUNCTION forebay_refuse('webhooks are append-only');
