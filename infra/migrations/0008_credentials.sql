-- What proves who somebody is: secrets and hot state, which the log never gets. No row holds what can be presented: passwords
-- as argon2id hashes, secrets as SHA-256, signing keys sealed, and refresh tokens not at all.
CREATE TABLE access.passwords (
    user_id text COLLATE "C" PRIMARY KEY,
    hash bytea NOT NULL
);

CREATE TABLE access.one_time_tokens (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    purpose text COLLATE "C" NOT NULL,
    subject_id text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C",
    role text COLLATE "C",
    email_index bytea CHECK (length(email_index) = 32),
    plan_ids text[],
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE UNIQUE INDEX one_time_tokens_unused ON access.one_time_tokens (purpose, subject_id) WHERE used_at IS NULL;
CREATE INDEX one_time_tokens_subject ON access.one_time_tokens (subject_id);
CREATE INDEX one_time_tokens_expiry ON access.one_time_tokens (expires_at);

CREATE TABLE access.sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('browser', 'program')),
    tenant_id text COLLATE "C",
    cookie_sha256 bytea UNIQUE CHECK (length(cookie_sha256) = 32),
    secret bytea NOT NULL CHECK (length(secret) = 32),
    generation integer NOT NULL CHECK (generation > 0),
    rotated_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    confirmed_at timestamptz NOT NULL,
    idle_ends_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text COLLATE "C",
    end_told boolean NOT NULL DEFAULT false,
    CHECK ((kind = 'browser') = (cookie_sha256 IS NOT NULL))
);
CREATE INDEX sessions_user ON access.sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_end ON access.sessions (ends_at);
CREATE INDEX sessions_untold ON access.sessions (ended_at) WHERE ended_at IS NOT NULL AND NOT end_told;
COMMENT ON COLUMN access.sessions.end_told IS 'the log has its session.ended; ends are written here first';

-- The number makes a rotation one row that only one process can write; the instant makes it take effect by itself.
CREATE TABLE access.signing_keys (
    number integer PRIMARY KEY CHECK (number > 0),
    kid text COLLATE "C" NOT NULL UNIQUE,
    sealed bytea NOT NULL,
    signs_from timestamptz NOT NULL,
    made_at timestamptz NOT NULL,
    distrusted_at timestamptz
);

-- Failed log-ins by account and by address, both as a keyed hash: who tries where is nobody's to read here. Unlogged, so
-- that a flood of guesses does not wait with payments for the disk; after a crash of the server counting begins anew.
CREATE UNLOGGED TABLE access.log_in_failures (
    subject bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures integer NOT NULL,
    free_at timestamptz NOT NULL
);
CREATE INDEX log_in_failures_free ON access.log_in_failures (free_at);

-- What proves second factors. A row without one in `access.second_factors` is an offer that nobody has shown yet, and is
-- good for nothing. The secret of an authenticator app is sealed; a passkey's is with its user, and here only the public
-- key.
CREATE TABLE access.factor_secrets (
    factor_id text COLLATE "C" PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('totp', 'passkey')),
    name text NOT NULL,
    sealed bytea,
    credential_id bytea UNIQUE,
    public_key bytea,
    use_count bigint NOT NULL,
    made_at timestamptz NOT NULL,
    used_at timestamptz,
    CHECK ((kind = 'totp') = (sealed IS NOT NULL)),
    CHECK ((credential_id IS NULL) = (public_key IS NULL))
);
COMMENT ON COLUMN access.factor_secrets.use_count IS
    'totp: the time step (of 30 s) of the last code taken; passkey: the last count that the device told';
CREATE INDEX factor_secrets_user ON access.factor_secrets (user_id);

-- For whoever has lost their device: each is taken once. A keyed digest, since a code is short enough to be guessed at.
CREATE TABLE access.recovery_codes (
    user_id text COLLATE "C" NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, digest)
);

-- New ones in the place of all before, digest after digest; false where there is no second factor that they could stand in
-- for. The user's row is held first, so that however many ask at once, one list is left.
CREATE FUNCTION access.replace_recovery_codes(whose text, digests bytea) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM access.users WHERE user_id = whose FOR UPDATE;
    IF NOT EXISTS (SELECT FROM access.second_factors WHERE user_id = whose) THEN
        RETURN false;
    END IF;
    DELETE FROM access.recovery_codes WHERE user_id = whose;
    INSERT INTO access.recovery_codes (user_id, digest)
    SELECT whose, substr(digests, 1 + 32 * place, 32) FROM generate_series(0, length(digests) / 32 - 1) AS place;
    RETURN true;
END
$$;

-- With the commit of whatever takes a user's power away their sessions are over; the log is told of each afterwards.
CREATE FUNCTION access.end_sessions(whose text, why text, keeps text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE access.sessions SET ended_at = clock_timestamp(), end_reason = why
    WHERE user_id = whose AND ended_at IS NULL AND session_id IS DISTINCT FROM keeps
$$;

-- Customers at the portal: no users, and of one tenant.
CREATE TABLE access.portal_sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    plan_ids text[],
    cookie_sha256 bytea NOT NULL UNIQUE CHECK (length(cookie_sha256) = 32),
    started_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX portal_sessions_customer ON access.portal_sessions (tenant_id, customer_id) WHERE ended_at IS NULL;
CREATE INDEX portal_sessions_end ON access.portal_sessions (ends_at);

-- Whether the log says so, as of its last commit: no read model, which may lag.
CREATE FUNCTION access.is_erased_customer(wanted_tenant text, wanted_customer text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM log.events WHERE tenant_id = wanted_tenant AND stream_type = 'customer'
            AND stream_id = wanted_customer AND event_type = 'customer.erased')
$$;
