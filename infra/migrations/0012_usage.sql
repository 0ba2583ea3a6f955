-- Usage: what the events of the topic usage.events.v1 add up to. An aggregator writes all of it, in one transaction a
-- poll: how far it has read, which ids it has counted, and what they came to. No event is kept here: the topic keeps them.
CREATE TABLE usage.checkpoints (
    partition integer PRIMARY KEY,
    next_offset bigint NOT NULL,
    closings bigint NOT NULL DEFAULT 0,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON COLUMN usage.checkpoints.next_offset IS 'the next record to read; moved by compare-and-set, in the transaction of what is counted';
COMMENT ON COLUMN usage.checkpoints.closings IS 'closings in this partition so far; an aggregator that knows of fewer reads the others first';

-- The ids that were counted, as a poll met them: what an aggregator loads when it takes on a partition.
CREATE TABLE usage.dedupe_blocks (
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    day integer NOT NULL,
    ids integer NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (partition, first_offset)
);
ALTER TABLE usage.dedupe_blocks ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON COLUMN usage.dedupe_blocks.day IS 'when the broker appended the records, in days since 1970 in UTC';
COMMENT ON COLUMN usage.dedupe_blocks.hashes IS '16 bytes an id: 12 of BLAKE2b of tenant, customer, kind and id, 4 of the content''s CRC-32';

-- By which version of a meter a partition counts, and from which record on: so a recount knows what was known when.
CREATE TABLE usage.adopted_meters (
    partition integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    meter_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    from_offset bigint NOT NULL,
    rule jsonb NOT NULL,
    PRIMARY KEY (partition, tenant_id, meter_id, version)
);

-- What is summed on its own: a meter's events of one customer, by one version of the meter, in one group.
CREATE TABLE usage.series (
    series bytea PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    meter_id text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    groups text[] COLLATE "C" NOT NULL,
    partition integer NOT NULL
);
CREATE INDEX series_by_customer ON usage.series (tenant_id, customer_id, meter_id);
COMMENT ON COLUMN usage.series.series IS '16 bytes of BLAKE2b of the other columns but the partition';
COMMENT ON COLUMN usage.series.groups IS 'the values of the properties that the meter groups by, in its order';

CREATE TABLE usage.aggregates (
    series bytea NOT NULL,
    bucket integer NOT NULL,
    late integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    total numeric NOT NULL,
    PRIMARY KEY (series, bucket, late)
) WITH (fillfactor = 70);
COMMENT ON COLUMN usage.aggregates.bucket IS 'quarter hours since 1970 in UTC';
COMMENT ON COLUMN usage.aggregates.late IS 'the closing after which the events came, of which the bucket was a part; 0: they came in time';
COMMENT ON COLUMN usage.aggregates.total IS 'in units of 10^-9';

-- What a count and a sum do not tell: the values of a maximum, the members of a unique count, the points of a level.
CREATE TABLE usage.tallies (
    series bytea NOT NULL,
    bucket integer NOT NULL,
    late integer NOT NULL,
    at_us bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    value numeric NOT NULL,
    member text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    times bigint NOT NULL,
    PRIMARY KEY (series, bucket, late, at_us, event_id, value, member)
) WITH (fillfactor = 90);
COMMENT ON COLUMN usage.tallies.value IS 'a whole number of 10^-9';
COMMENT ON COLUMN usage.tallies.times IS 'events less voids; what has come to 0 counts no more';

-- The same id with other content, or one place for two corrections: the first one counts, and this shows the others.
CREATE TABLE usage.conflicts (
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    nth integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (partition, record_offset, nth)
);
CREATE INDEX conflicts_by_customer ON usage.conflicts (tenant_id, customer_id, appended_at);
COMMENT ON COLUMN usage.conflicts.nth IS 'which event of the record';

-- Periods that are closed. Whatever comes later for one of their buckets is late, and the next closing's.
CREATE TABLE usage.closings (
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    meter_id text COLLATE "C" NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    reference text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    first_bucket integer NOT NULL,
    bucket integer NOT NULL,
    covers bigint NOT NULL,
    sha256 bytea NOT NULL,
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, customer_id, meter_id, seq),
    UNIQUE (tenant_id, reference)
);
CREATE INDEX closings_by_version ON usage.closings (partition, version);
COMMENT ON COLUMN usage.closings.version IS 'what the partition''s count of closings was with this one';
COMMENT ON COLUMN usage.closings.bucket IS 'the first that is not closed: until falls at its beginning, or within the one before';
COMMENT ON COLUMN usage.closings.first_bucket IS 'the first one of the period, of those that no earlier closing took';
COMMENT ON COLUMN usage.closings.reference IS 'whom it was closed for: the line of an invoice';
COMMENT ON COLUMN usage.closings.covers IS 'the records of the partition below this offset are in it, and no others';
COMMENT ON COLUMN usage.closings.sha256 IS 'of its rows, which nothing changes any more';
