-- An answer that follows from its transfer is stored without a body: half of what a transfer weighed.
ALTER TABLE idempotency_keys MODIFY body MEDIUMTEXT;
