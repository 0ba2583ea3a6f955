-- The read side's bookkeeping. The read models' own tables are made by `projections.folding.tables`: each release knows
-- its own, and a rebuild makes the next version of them.
-- A projection is everything that is folded from one topic. Whoever applies records holds its row FOR SHARE; whoever
-- swaps tables under the views holds it FOR UPDATE and moves the epoch, so that no batch lands in the wrong table.
CREATE TABLE read.projections (
    name text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    fold integer NOT NULL,
    incarnation bigint NOT NULL,
    next_fold integer,
    next_incarnation bigint,
    CHECK ((next_fold IS NULL) = (next_incarnation IS NULL))
) WITH (fillfactor = 50);
COMMENT ON COLUMN read.projections.fold IS 'the fold whose tables the views show';
COMMENT ON COLUMN read.projections.incarnation IS 'of the topic it was folded from; 0: nothing was folded yet';
COMMENT ON COLUMN read.projections.next_fold IS 'a fold of a newer incarnation on its way to take over; usually null';

CREATE TABLE read.models (
    name text COLLATE "C" PRIMARY KEY,
    projection text COLLATE "C" NOT NULL REFERENCES read.projections,
    layout text COLLATE "C" NOT NULL,
    table_version integer NOT NULL,
    next_table_version integer,
    last_table_version integer NOT NULL,
    wanted_layout text COLLATE "C",
    former_layouts text[] COLLATE "C" NOT NULL DEFAULT '{}',
    stands_at bigint
);
COMMENT ON COLUMN read.models.layout IS 'what made the live table: a release''s rule and its columns; empty: it stands still';
COMMENT ON COLUMN read.models.wanted_layout IS 'what makes the table that is being filled beside it; usually null';
COMMENT ON COLUMN read.models.former_layouts IS 'of older releases: they may not fold into this table, nor fill it anew';
COMMENT ON COLUMN read.models.stands_at IS 'what it holds while it stands still; usually null';

-- How far a fold has come, per partition; moved in the transaction of the rows, by compare-and-set.
CREATE TABLE read.checkpoints (
    projection text COLLATE "C" NOT NULL REFERENCES read.projections,
    fold integer NOT NULL,
    partition integer NOT NULL,
    topic text COLLATE "C" NOT NULL,
    incarnation bigint NOT NULL,
    position bigint NOT NULL,
    kafka_offset bigint NOT NULL,
    PRIMARY KEY (projection, fold, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
COMMENT ON COLUMN read.checkpoints.kafka_offset IS 'the next record to read';

-- Keys that wait for a dead letter: their rows stand as before `since_position` until it is replayed.
CREATE TABLE read.held_keys (
    projection text COLLATE "C" NOT NULL REFERENCES read.projections,
    fold integer NOT NULL,
    partition_key text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(partition_key, ':', 1)) STORED,
    partition integer NOT NULL,
    since_position bigint NOT NULL,
    error text NOT NULL,
    PRIMARY KEY (projection, fold, partition_key)
);
