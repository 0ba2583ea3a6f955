-- Tenants, and the digests of their keys. A tenant is live or a test for as long as it exists.
CREATE TABLE access.tenants (
    tenant_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    mode text COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE access.api_keys (
    key_id text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL REFERENCES access.tenants,
    prefix text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL DEFAULT 'admin' CHECK (scope IN ('read', 'write', 'admin')),
    sha256 bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON access.api_keys (tenant_id);

-- A key is looked up before its tenant is known, so by a function that row security does not hold back.
CREATE FUNCTION access.find_api_key(wanted_sha256 bytea)
    RETURNS TABLE (key_id text, tenant_id text, prefix text, mode text, scope text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.tenant_id, k.prefix, t.mode, k.scope FROM access.api_keys k JOIN access.tenants t USING (tenant_id)
    WHERE k.sha256 = wanted_sha256 AND k.revoked_at IS NULL
$$;
