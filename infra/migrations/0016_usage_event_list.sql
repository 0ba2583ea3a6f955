-- In which record an id was counted, so that its event is found, and told from a repeat of it, by one look at its block.
ALTER TABLE usage.dedupe_blocks ADD COLUMN places bytea NOT NULL DEFAULT '';
ALTER TABLE usage.dedupe_blocks ALTER COLUMN places SET STORAGE EXTERNAL;
COMMENT ON COLUMN usage.dedupe_blocks.places IS '4 bytes an id, in the order of hashes: the offset of its record modulo 2^32; empty in a block of before there were any';

-- What was taken away, and what stands in its place, so that a list of events tells it without a look at all ids.
CREATE TABLE usage.voids (
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    nth integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    instead_id text COLLATE "C" NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (partition, record_offset, nth)
);
CREATE INDEX voids_by_event ON usage.voids (tenant_id, customer_id, event_id);
COMMENT ON COLUMN usage.voids.record_offset IS 'of the void that counted';
COMMENT ON COLUMN usage.voids.nth IS 'which event of the record';
COMMENT ON COLUMN usage.voids.instead_id IS 'the event that was put in its place; empty where none was';
