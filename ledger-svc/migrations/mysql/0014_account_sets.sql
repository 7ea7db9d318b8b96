-- The serving user needs more:  GRANT INSERT ON ledger.T TO 'ledger';   for account_sets, account_set_members

-- Accounts that are looked at together. A set has accounts and other sets; its totals are summed when they are read. Sets and
-- members are links of the chain.
CREATE TABLE account_sets (
    id BIGINT NOT NULL PRIMARY KEY,
    code VARCHAR(128) NOT NULL UNIQUE,
    name VARCHAR(200) NOT NULL,
    created_at_us BIGINT NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE account_set_members (
    id BIGINT NOT NULL PRIMARY KEY,
    set_id BIGINT NOT NULL,
    account_id BIGINT,
    member_set_id BIGINT,
    added_at_us BIGINT NOT NULL,
    UNIQUE (set_id, account_id),
    UNIQUE (set_id, member_set_id),
    CHECK ((account_id IS NULL) <> (member_set_id IS NULL)),
    FOREIGN KEY (set_id) REFERENCES account_sets (id),
    FOREIGN KEY (account_id) REFERENCES accounts (id),
    FOREIGN KEY (member_set_id) REFERENCES account_sets (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TRIGGER account_sets_no_update BEFORE UPDATE ON account_sets
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account sets are append-only';
CREATE TRIGGER account_sets_no_delete BEFORE DELETE ON account_sets
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account sets are append-only';
CREATE TRIGGER account_set_members_no_update BEFORE UPDATE ON account_set_members
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account sets are append-only';
CREATE TRIGGER account_set_members_no_delete BEFORE DELETE ON account_set_members
FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'account sets are append-only';
