-- Which revision of a person's data is the newest: rows are written under the log's head, so in the order of their events.
SET LOCAL ROLE tallybook_owner;

ALTER TABLE vault.personal_data ADD COLUMN written bigint GENERATED ALWAYS AS IDENTITY;

RESET ROLE;
