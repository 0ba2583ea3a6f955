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
    CHECK ((kind = 'browser') = (cookie_sha256 IS NOT NULL))
);
CREATE INDEX sessions_user ON access.sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_end ON access.sessions (ends_at);

-- The number makes a rotation one row that only one process can write; the instant makes it take effect by itself.
CREATE TABLE access.signing_keys (
    number integer PRIMARY KEY CHECK (number > 0),
    kid text COLLATE "C" NOT NULL UNIQUE,
    sealed bytea NOT NULL,
    signs_from timestamptz NOT NULL,
    made_at timestamptz NOT NULL,
    distrusted_at timestamptz
);

-- Failed log-ins by account and by address, both as a keyed hash: who tries where is nobody's to read here.
CREATE TABLE access.log_in_failures (
    subject bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures integer NOT NULL,
    free_at timestamptz NOT NULL
);
CREATE INDEX log_in_failures_free ON access.log_in_failures (free_at);
