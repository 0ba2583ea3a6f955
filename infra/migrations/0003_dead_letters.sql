-- Dead letters: records that a consumer gave up on, with where they came from and why.
CREATE TABLE ops.dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    record_timestamp_ms bigint NOT NULL,
    record_sha256 bytea NOT NULL,
    record_bytes bigint NOT NULL,
    by_reference boolean NOT NULL,
    tenant_id text COLLATE "C",
    event_id text COLLATE "C",
    record_key bytea,
    record_value bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    buried_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamptz,
    -- A topic that was made anew counts its offsets anew: the digest tells which record it was.
    UNIQUE (consumer, topic, partition, record_offset, record_sha256)
);
COMMENT ON COLUMN ops.dead_letters.by_reference IS 'too large to be kept: only its place, size, digest and small headers';
COMMENT ON COLUMN ops.dead_letters.tenant_id IS 'what the record said, which may be a forgery; null: nothing';
