-- Heartbeats: every role's process says here, every few seconds, that it lives and what it thinks of its parts. Whoever
-- has stopped saying so is frozen, dead or cut off; only the database's clock is asked how long ago that was.
CREATE TABLE ops.heartbeats (
    role text COLLATE "C" NOT NULL CHECK (length(role) BETWEEN 1 AND 40),
    instance text COLLATE "C" NOT NULL CHECK (length(instance) BETWEEN 1 AND 200),
    began_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    ok boolean NOT NULL,
    parts jsonb NOT NULL CHECK (octet_length(parts::text) <= 65536),
    PRIMARY KEY (role, instance)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON COLUMN ops.heartbeats.began_at IS 'of this row: an instance that starts again carries it on';
