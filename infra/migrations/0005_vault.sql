-- The vault: personal data under a key per person. Erasing a person deletes the key, and
-- the salt that each field's salt in a commitment comes from (infra/commitments.py).
CREATE TABLE vault.people (
    tenant_id text COLLATE "C" NOT NULL,
    person_id text COLLATE "C" NOT NULL,
    wrapped_key bytea NOT NULL,
    salt bytea NOT NULL,
    PRIMARY KEY (tenant_id, person_id)
);
CREATE TABLE vault.personal_data (
    tenant_id text COLLATE "C" NOT NULL,
    person_id text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    written bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (tenant_id, person_id, reference),
    FOREIGN KEY (tenant_id, person_id) REFERENCES vault.people ON DELETE CASCADE
);
COMMENT ON COLUMN vault.personal_data.written IS
    'which revision is the newest: rows are written under the log''s head, so in the order of their events';
