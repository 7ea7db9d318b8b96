-- A balance is written for many batches from now on: its row may lack entries behind this one, the last of which has the
-- account's totals. Whoever reads balances by SQL adds them, or reads when the service has been at rest for a moment.
ALTER TABLE service ADD COLUMN balances_through INTEGER NOT NULL DEFAULT 0;
UPDATE service SET balances_through = (SELECT coalesce(max(last_entry_id), 0) FROM balances);
