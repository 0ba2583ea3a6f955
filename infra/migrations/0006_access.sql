-- Who may do what. The rows that events say (tenants, API keys, users, memberships) are written by `access.record` in the
-- commit of their events, and `tallybook audit verify` compares them with the log. Digests are in tables of their own,
-- which the readers of the others do not see. A tenant is live or a test for as long as it exists.
CREATE TABLE access.tenants (
    tenant_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    mode text COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    created_at timestamptz NOT NULL,
    suspended_at timestamptz
);
CREATE TABLE access.api_keys (
    key_id text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL REFERENCES access.tenants,
    prefix text COLLATE "C" NOT NULL,
    name text NOT NULL,
    scope text COLLATE "C" NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    allowed_networks text[] NOT NULL,
    reads_per_hour integer,
    writes_per_hour integer,
    admin_per_hour integer,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    successor_id text COLLATE "C"
);
COMMENT ON COLUMN access.api_keys.reads_per_hour IS 'null: as the cell has it for every key; the same of the others';
COMMENT ON COLUMN access.api_keys.allowed_networks IS 'empty: it works from everywhere';
CREATE INDEX api_keys_tenant ON access.api_keys (tenant_id, key_id);
CREATE TABLE access.users (
    user_id text COLLATE "C" PRIMARY KEY,
    status text COLLATE "C" NOT NULL,
    is_super_admin boolean NOT NULL,
    email_index bytea UNIQUE
);
COMMENT ON COLUMN access.users.email_index IS 'a keyed digest of the address: how log-in finds its user; null once erased';
CREATE TABLE access.memberships (
    tenant_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX memberships_user ON access.memberships (user_id);
-- Offers that are open. The addresses that they went to are sealed by the master key, and go with them.
CREATE TABLE access.invitations (
    tenant_id text COLLATE "C" NOT NULL,
    invitation_id text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invitation_id)
);
CREATE TABLE access.invitation_addresses (
    tenant_id text COLLATE "C" NOT NULL,
    invitation_id text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, invitation_id)
);
CREATE INDEX invitation_addresses_expiry ON access.invitation_addresses (expires_at);
-- Who looks after the cell and is in the tenant, until when; the latest time of each.
CREATE TABLE access.entries (
    tenant_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    ends_at timestamptz NOT NULL,
    is_revealed boolean NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX entries_user ON access.entries (user_id);
-- Whoever has one does not sign in by the password alone.
CREATE TABLE access.second_factors (
    user_id text COLLATE "C" NOT NULL,
    factor_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, factor_id)
);
-- Whom tokens of foreign issuers are of, in the tenant. The digest is keyed, and tells issuer and subject.
CREATE TABLE access.identity_links (
    tenant_id text COLLATE "C" NOT NULL,
    link_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    subject_digest text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, link_id)
);
CREATE UNIQUE INDEX identity_links_subject ON access.identity_links (subject_digest, tenant_id);
CREATE TABLE access.api_key_digests (
    key_id text COLLATE "C" PRIMARY KEY REFERENCES access.api_keys,
    sha256 bytea NOT NULL UNIQUE CHECK (length(sha256) = 32)
);

-- What a batch changes, in order: rows of the tables, whole, and digests. Raises TB004 for a digest that is somebody's
-- already or of nobody, and for an API key that is another tenant's. Processes that remember who may do what are told.
CREATE FUNCTION access.record(changes jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    change jsonb;
    done boolean;
BEGIN
    FOR change IN SELECT value FROM jsonb_array_elements(changes) LOOP
        CASE change ->> 'table'
            WHEN 'tenants' THEN
                INSERT INTO access.tenants SELECT * FROM jsonb_populate_record(NULL::access.tenants, change)
                ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, suspended_at = excluded.suspended_at;
            WHEN 'api_keys' THEN
                INSERT INTO access.api_keys AS k SELECT * FROM jsonb_populate_record(NULL::access.api_keys, change)
                ON CONFLICT (key_id) DO UPDATE SET
                    name = excluded.name, scope = excluded.scope, allowed_networks = excluded.allowed_networks,
                    reads_per_hour = excluded.reads_per_hour, writes_per_hour = excluded.writes_per_hour,
                    admin_per_hour = excluded.admin_per_hour, expires_at = excluded.expires_at,
                    revoked_at = excluded.revoked_at, successor_id = excluded.successor_id
                    WHERE k.tenant_id = excluded.tenant_id
                RETURNING true INTO done;
                IF done IS NULL THEN
                    RAISE EXCEPTION 'the API key is another tenant''s' USING ERRCODE = 'TB004';
                END IF;
            WHEN 'users' THEN
                INSERT INTO access.users (user_id, status, is_super_admin)
                VALUES (change ->> 'user_id', change ->> 'status', (change ->> 'is_super_admin')::boolean)
                ON CONFLICT (user_id) DO UPDATE SET
                    status = excluded.status, is_super_admin = excluded.is_super_admin;
                IF change ->> 'status' <> 'active' THEN
                    PERFORM access.end_sessions(change ->> 'user_id', 'suspended', NULL);
                END IF;
                IF change ->> 'status' = 'erased' THEN
                    UPDATE access.users SET email_index = NULL WHERE user_id = change ->> 'user_id';
                    DELETE FROM access.passwords WHERE user_id = change ->> 'user_id';
                    DELETE FROM access.one_time_tokens WHERE subject_id = change ->> 'user_id' AND used_at IS NULL;
                END IF;
            WHEN 'memberships' THEN
                IF change ->> 'role' IS NULL THEN
                    DELETE FROM access.memberships
                    WHERE tenant_id = change ->> 'tenant_id' AND user_id = change ->> 'user_id';
                ELSE
                    INSERT INTO access.memberships SELECT * FROM jsonb_populate_record(NULL::access.memberships, change)
                    ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = excluded.role;
                END IF;
            WHEN 'invitations' THEN
                IF change ->> 'role' IS NULL THEN
                    DELETE FROM access.invitations
                    WHERE tenant_id = change ->> 'tenant_id' AND invitation_id = change ->> 'invitation_id';
                    DELETE FROM access.invitation_addresses
                    WHERE tenant_id = change ->> 'tenant_id' AND invitation_id = change ->> 'invitation_id';
                    DELETE FROM access.one_time_tokens
                    WHERE NOT (change ->> 'was_accepted')::boolean AND purpose = 'invitation' AND subject_id = change ->> 'invitation_id'
                        AND tenant_id = change ->> 'tenant_id' AND used_at IS NULL;
                ELSE
                    INSERT INTO access.invitations SELECT * FROM jsonb_populate_record(NULL::access.invitations, change)
                    ON CONFLICT (tenant_id, invitation_id) DO UPDATE SET
                        role = excluded.role, expires_at = excluded.expires_at;
                    -- Sent again, it is open for longer, and its address is known for as long.
                    UPDATE access.invitation_addresses SET expires_at = (change ->> 'expires_at')::timestamptz
                    WHERE tenant_id = change ->> 'tenant_id' AND invitation_id = change ->> 'invitation_id';
                END IF;
            WHEN 'entries' THEN
                IF change ->> 'ends_at' IS NULL THEN
                    DELETE FROM access.entries
                    WHERE tenant_id = change ->> 'tenant_id' AND user_id = change ->> 'user_id';
                ELSE
                    INSERT INTO access.entries SELECT * FROM jsonb_populate_record(NULL::access.entries, change)
                    ON CONFLICT (tenant_id, user_id) DO UPDATE SET
                        ends_at = excluded.ends_at, is_revealed = excluded.is_revealed;
                END IF;
            WHEN 'second_factors' THEN
                -- First the user, as `access.replace_recovery_codes` does: whoever adds, removes or asks for codes waits.
                PERFORM FROM access.users WHERE user_id = change ->> 'user_id' FOR UPDATE;
                IF change ->> 'kind' IS NULL THEN
                    DELETE FROM access.second_factors
                    WHERE user_id = change ->> 'user_id' AND factor_id = change ->> 'factor_id';
                    DELETE FROM access.factor_secrets
                    WHERE user_id = change ->> 'user_id' AND factor_id = change ->> 'factor_id';
                    DELETE FROM access.recovery_codes r WHERE user_id = change ->> 'user_id'
                        AND NOT EXISTS (SELECT FROM access.second_factors f WHERE f.user_id = r.user_id);
                ELSE
                    INSERT INTO access.second_factors
                    SELECT * FROM jsonb_populate_record(NULL::access.second_factors, change);
                END IF;
            WHEN 'identity_links' THEN
                IF change ->> 'user_id' IS NULL THEN
                    DELETE FROM access.identity_links
                    WHERE tenant_id = change ->> 'tenant_id' AND link_id = change ->> 'link_id';
                ELSE
                    INSERT INTO access.identity_links
                    SELECT * FROM jsonb_populate_record(NULL::access.identity_links, change);
                END IF;
            ELSE
                PERFORM access.keep_credential(change);
        END CASE;
    END LOOP;
    PERFORM pg_notify('tallybook_access', '');
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'it is somebody''s already' USING ERRCODE = 'TB004';
END
$$;

CREATE FUNCTION access.keep_credential(change jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    digest bytea := (change ->> 'digest')::bytea;
    done boolean;
BEGIN
    CASE change ->> 'table'
        WHEN 'api_key' THEN
            INSERT INTO access.api_key_digests (key_id, sha256)
            SELECT key_id, digest FROM access.api_keys
            WHERE key_id = change ->> 'subject' AND tenant_id = change ->> 'tenant_id'
            ON CONFLICT (key_id) DO UPDATE SET sha256 = excluded.sha256
            RETURNING true INTO done;
        WHEN 'password' THEN
            INSERT INTO access.passwords (user_id, hash)
            SELECT user_id, digest FROM access.users WHERE user_id = change ->> 'subject'
            ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash
            RETURNING true INTO done;
            -- Whoever has the old one is not to go on; the session that asked for the change may.
            PERFORM access.end_sessions(change ->> 'subject', 'password_changed', change ->> 'keeps');
        WHEN 'email' THEN
            UPDATE access.users SET email_index = digest WHERE user_id = change ->> 'subject' RETURNING true INTO done;
        WHEN 'recovery_codes' THEN
            -- They come with the first second factor; a further one leaves those that there are.
            IF (SELECT count(*) FROM access.second_factors WHERE user_id = change ->> 'subject') > 1 THEN
                done := true;
            ELSIF access.replace_recovery_codes(change ->> 'subject', digest) THEN
                done := true;
            END IF;
    END CASE;
    IF done IS NULL THEN
        RAISE EXCEPTION 'its subject is not there' USING ERRCODE = 'TB004';
    END IF;
END
$$;

-- A key is looked up before its tenant is known, so by a function that row security does not hold back.
CREATE FUNCTION access.find_api_key(wanted_sha256 bytea)
    RETURNS TABLE (key_id text, tenant_id text, prefix text, mode text, scope text, suspended boolean,
                   allowed_networks text[], reads_per_hour integer, writes_per_hour integer, admin_per_hour integer,
                   expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, k.tenant_id, k.prefix, t.mode, k.scope, t.suspended_at IS NOT NULL, k.allowed_networks,
           k.reads_per_hour, k.writes_per_hour, k.admin_per_hour, k.expires_at
    FROM access.api_key_digests d JOIN access.api_keys k USING (key_id) JOIN access.tenants t USING (tenant_id)
    WHERE d.sha256 = wanted_sha256 AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
$$;

-- Names and counts of tenants, the only thing that is told of all of them: to whoever looks after the cell, or of one to
-- its own people.
CREATE FUNCTION access.list_tenants(wanted text, after text, before text, up_to integer)
    RETURNS TABLE (tenant_id text, name text, mode text, created_at timestamptz, suspended_at timestamptz,
                   members bigint, api_keys bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tenant_id, t.name, t.mode, t.created_at, t.suspended_at,
           (SELECT count(*) FROM access.memberships m WHERE m.tenant_id = t.tenant_id),
           (SELECT count(*) FROM access.api_keys k WHERE k.tenant_id = t.tenant_id AND k.revoked_at IS NULL
                AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()))
    FROM access.tenants t
    WHERE (wanted IS NULL OR t.tenant_id = wanted) AND (after IS NULL OR t.tenant_id > after)
        AND (before IS NULL OR t.tenant_id < before)
    ORDER BY CASE WHEN before IS NULL THEN t.tenant_id END, CASE WHEN before IS NOT NULL THEN t.tenant_id END DESC
    LIMIT up_to
$$;
