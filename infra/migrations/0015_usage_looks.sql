-- What was counted since somebody last looked whether a threshold was passed. An aggregator writes a row a poll and
-- partition, in the poll's own transaction; whoever gathers them deletes them.
CREATE TABLE usage.touched (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series bytea[] NOT NULL,
    first_buckets integer[] NOT NULL
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON COLUMN usage.touched.first_buckets IS 'of each series the first quarter hour in which something was counted';

-- Customers' meters that are to be looked at.
CREATE TABLE usage.looks (
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    meter_id text COLLATE "C" NOT NULL,
    first_bucket integer NOT NULL,
    touches bigint NOT NULL DEFAULT 1,
    look_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until timestamptz,
    PRIMARY KEY (tenant_id, customer_id, meter_id)
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE INDEX looks_by_time ON usage.looks (look_at);
COMMENT ON COLUMN usage.looks.first_bucket IS 'the first quarter hour that may have changed: earlier periods are not looked at';
COMMENT ON COLUMN usage.looks.touches IS 'how often it was asked for; who has looked meanwhile looks again';
COMMENT ON COLUMN usage.looks.leased_until IS 'until then somebody is looking';
