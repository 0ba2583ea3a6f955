-- Heartbeats: the only way to write them. Rows of those who have been silent for `forget` go, so the table holds no more
-- than the processes of that time. Returns what the caller measures itself by: the database's clock.
CREATE OR REPLACE FUNCTION ops.beat(role text, instance text, ok boolean, parts jsonb, forget interval)
    RETURNS timestamptz
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO ops.heartbeats AS h (role, instance, began_at, beat_at, ok, parts)
    VALUES (beat.role, beat.instance, now, now, beat.ok, beat.parts)
    ON CONFLICT (role, instance) DO UPDATE SET beat_at = excluded.beat_at, ok = excluded.ok, parts = excluded.parts;
    DELETE FROM ops.heartbeats h WHERE h.beat_at < now - beat.forget;
    RETURN clock_timestamp();
END
$$;

CREATE OR REPLACE FUNCTION ops.leave(role text, instance text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ops.heartbeats h WHERE h.role = leave.role AND h.instance = leave.instance
$$;
