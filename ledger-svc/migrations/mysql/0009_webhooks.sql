-- The serving user needs more:
--   GRANT INSERT ON ledger.T TO 'ledger';   for webhook_endpoints, webhook_removals, webhook_progress
--   GRANT UPDATE ON ledger.webhook_progress TO 'ledger';

-- Who is told what is booked. Endpoints and removals are links of the chain; how far each has come is no part of it. The
-- secret is kept as it is, because deliveries are signed with it.
CREATE TABLE webhook_endpoints (
    id BIGINT NOT NULL PRIMARY KEY,
    url VARCHAR(1000) NOT NULL,
    description VARCHAR(200) NOT NULL,
    secret VARBINARY(64) NOT NULL,
    after_seq BIGINT NOT NULL CHECK (after_seq >= 0),
    created_at_us BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE webhook_removals (
    endpoint_id BIGINT NOT NULL PRIMARY KEY,
    removed_at_us BIGINT NOT NULL,
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE webhook_progress (
    endpoint_id BIGINT NOT NULL PRIMARY KEY,
    delivered_seq BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    next_attempt_at_us BIGINT,
    suspended_at_us BIGINT,
    error VARCHAR(200) NOT NULL,
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER webhook_endpoints_no_update BEFORE UPDATE ON webhook_endpoints
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'webhooks are append-only';
CREATE TRIGGER webhook_endpoints_no_delete BEFORE DELETE ON webhook_endpoints
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'webhooks are append-only';
CREATE TRIGGER webhook_removals_no_update BEFORE UPDATE ON webhook_removals
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'webhooks are append-only';
CREATE TRIGGER webhook_removals_no_delete BEFORE DELETE ON webhook_removals
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'webhooks are append-only';
