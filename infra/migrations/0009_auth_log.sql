-- Who tried to come in, from where, and was refused: addresses and user agents of people, so it has an end. What happened
-- to keys, roles and sessions themselves are events of the log, and are not written here again.
--
-- A row is one attempt, or several of the same within a moment (`times`). Nobody changes one; a whole month goes when it
-- is over for long enough.
CREATE TABLE access.auth_events (
    event_id text COLLATE "C" NOT NULL,
    happened_at timestamptz NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    times integer NOT NULL CHECK (times > 0),
    user_id text COLLATE "C",
    actor text COLLATE "C",
    session_id text COLLATE "C",
    code text COLLATE "C",
    route text COLLATE "C",
    address text COLLATE "C",
    user_agent text,
    request_id text COLLATE "C",
    PRIMARY KEY (tenant_id, event_id, happened_at)
) PARTITION BY RANGE (happened_at);
COMMENT ON COLUMN access.auth_events.tenant_id IS '`platform` where it is no tenant''s; of a user''s log-in one row for each tenant of theirs';
COMMENT ON COLUMN access.auth_events.code IS 'why, as the answer''s problem says it';
CREATE INDEX auth_events_user ON access.auth_events (tenant_id, user_id, event_id) WHERE user_id IS NOT NULL;

CREATE FUNCTION access.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the auth log is append-only: % of %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'TB003', HINT = 'What is old enough goes by the month: tallybook auth forget.';
END
$$;
CREATE TRIGGER auth_events_refuse_change BEFORE UPDATE OR DELETE ON access.auth_events
    FOR EACH ROW EXECUTE FUNCTION access.refuse_change();
CREATE TRIGGER auth_events_refuse_any_change BEFORE UPDATE OR DELETE OR TRUNCATE ON access.auth_events
    FOR EACH STATEMENT EXECUTE FUNCTION access.refuse_change();

-- Makes the partitions of this month and of those `ahead`, by attaching, which no insert waits for. Two at once take turns.
CREATE FUNCTION access.make_auth_partitions(ahead integer DEFAULT 2) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    starts timestamptz;
    ends timestamptz;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7345005);
    FOR month IN 0..ahead LOOP
        starts := date_trunc('month', clock_timestamp()) + make_interval(months => month);
        ends := starts + interval '1 month';
        name := 'auth_events_' || to_char(starts, 'YYYY_MM');
        CONTINUE WHEN to_regclass('access.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE access.%I (LIKE access.auth_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS, '
                       'CONSTRAINT in_range CHECK (happened_at >= %L AND happened_at < %L))', name, starts, ends);
        EXECUTE format('ALTER TABLE access.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE TRIGGER auth_events_refuse_any_change BEFORE UPDATE OR DELETE OR TRUNCATE ON access.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION access.refuse_change()', name);
        EXECUTE format('ALTER TABLE access.auth_events ATTACH PARTITION access.%I FOR VALUES FROM (%L) TO (%L)',
                       name, starts, ends);
        EXECUTE format('ALTER TABLE access.%I DROP CONSTRAINT in_range', name);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
SELECT access.make_auth_partitions();

-- Drops the months whose last day is `keep_days` ago, and tells how many. A lock that is not had at once is left for the
-- next time: nobody's log-in waits for this.
CREATE FUNCTION access.forget_auth_events(keep_days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET timezone = 'UTC' SET lock_timeout = '1s' AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    IF keep_days < 1 THEN
        RAISE EXCEPTION 'the auth log is kept for at least a day' USING ERRCODE = 'TB003';
    END IF;
    PERFORM pg_advisory_xact_lock(7345005);
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'access.auth_events'::regclass ORDER BY c.relname LOOP
        CONTINUE WHEN to_date(right(part.relname, 7), 'YYYY_MM') + interval '1 month'
                      > clock_timestamp() - make_interval(days => keep_days);
        EXECUTE format('DROP TABLE access.%I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

-- When a key was used last, to the minute: written beside requests, not in them.
CREATE TABLE access.api_key_uses (
    key_id text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    used_at timestamptz NOT NULL
) WITH (fillfactor = 70);
