-- Who reads the views of the schema `reporting`, which BI tools ask: a login of PostgreSQL is one tenant's, by this row
-- and by nothing that its session could set. The views themselves are made by `projections.reports.views`.
CREATE TABLE reporting.logins (
    login text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE reporting.logins IS 'logins that read the views of this schema, and of which tenant';

-- By which text each view was made, so that a release makes those anew that it has another text for.
CREATE TABLE reporting.definitions (
    name text COLLATE "C" PRIMARY KEY,
    made_of text NOT NULL
);
