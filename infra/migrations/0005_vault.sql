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

-- What people are found by: keyed digests of the words of their names and of their addresses (infra/vault.py). They go
-- with the key, so nobody is found who was erased. Equality of numbers is leakproof, so row security lets the index work.
CREATE TABLE vault.search_terms (
    tenant_id text COLLATE "C" NOT NULL,
    digest bigint NOT NULL,
    person_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, digest, person_id),
    FOREIGN KEY (tenant_id, person_id) REFERENCES vault.people ON DELETE CASCADE
);
CREATE INDEX search_terms_person ON vault.search_terms (tenant_id, person_id);
