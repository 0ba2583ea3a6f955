-- The log: what the writer writes.

-- The head: one row. A batch locks it, takes its positions and commits; a batch rolled back leaves no gap.
CREATE TABLE log.head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL CHECK (position >= 0),
    recorded_at timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
INSERT INTO log.head (position, recorded_at) VALUES (0, '-infinity');

-- Stream versions: the guard of appends. `last_change` is how many events the last batch added, so that an upsert can
-- tell the version it expects (`version - last_change`) from the row it would write.
CREATE TABLE log.streams (
    version integer NOT NULL CHECK (version > 0),
    last_change integer NOT NULL CHECK (last_change > 0),
    tenant_id text COLLATE "C" NOT NULL,
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, stream_type, stream_id)
) WITH (fillfactor = 80);

CREATE TABLE log.events (
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    stream_version integer NOT NULL,
    schema_id integer NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    partition_key text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    causation_id text COLLATE "C",
    payload bytea NOT NULL,
    postings bytea,
    decision bytea,
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);
COMMENT ON COLUMN log.events.decision IS 'of a decision''s first event: what it rested on (infra/event_store/decision_record.py)';
-- An event is looked up by its id through the time in it: positions and times rise together, so a range index, which is
-- a thousandth of the size of one by id, finds the few pages that it can be on.
CREATE INDEX events_recorded_at ON log.events USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % of %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'TB003', HINT = 'Correct a mistake with a reversing entry.';
END
$$;

CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE ON log.events
    FOR EACH ROW EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER events_refuse_any_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();

-- Partitions are made ahead of the head, by attaching: that takes no lock which appends or readers wait for.
CREATE TABLE log.partitioning (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    partition_positions bigint NOT NULL CHECK (partition_positions > 0),
    partitions_ahead integer NOT NULL CHECK (partitions_ahead > 0),
    made_up_to bigint NOT NULL
);
INSERT INTO log.partitioning (partition_positions, partitions_ahead, made_up_to) VALUES (10000000, 2, 0);

CREATE FUNCTION log.make_partitions() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    plan log.partitioning;
    head bigint;
    name text;
BEGIN
    SELECT * INTO plan FROM log.partitioning FOR UPDATE;
    SELECT position INTO head FROM log.head;
    WHILE plan.made_up_to < head + plan.partitions_ahead * plan.partition_positions LOOP
        name := format('events_from_%s', plan.made_up_to + 1);
        EXECUTE format('CREATE TABLE log.%I (LIKE log.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS, '
                       'PRIMARY KEY (position), '
                       'CONSTRAINT in_range CHECK (position > %s AND position <= %s))',
                       name, plan.made_up_to, plan.made_up_to + plan.partition_positions);
        EXECUTE format('CREATE UNIQUE INDEX ON log.%I (tenant_id, stream_type, stream_id, stream_version)', name);
        EXECUTE format('ALTER TABLE log.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE TRIGGER events_refuse_any_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', name);
        EXECUTE format('ALTER TABLE log.events ATTACH PARTITION log.%I FOR VALUES FROM (%s) TO (%s)',
                       name, plan.made_up_to + 1, plan.made_up_to + plan.partition_positions + 1);
        EXECUTE format('ALTER TABLE log.%I DROP CONSTRAINT in_range', name);
        plan.made_up_to := plan.made_up_to + plan.partition_positions;
        UPDATE log.partitioning SET made_up_to = plan.made_up_to;
    END LOOP;
    RETURN plan.made_up_to;
END
$$;
SELECT log.make_partitions();

-- What each command came to, refusals too: a repeat gets the first answer. Rows never expire: they guard money.
CREATE TABLE log.command_results (
    position bigint NOT NULL,
    events integer NOT NULL CHECK (events >= 0),
    decided_at timestamptz NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    refusal_code text COLLATE "C",
    answer bytea,
    answer_person_id text COLLATE "C",
    PRIMARY KEY (tenant_id, idempotency_key)
);
COMMENT ON COLUMN log.command_results.position IS 'of the last event; the head it was decided at where there is none';

CREATE TABLE log.claims (
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, kind, value)
);

-- What calls the outside or waits. `ready_at` is when somebody may take it: `due_at`, or the end of a lease or pause.
-- `first_run_at` is when it was first taken, written before that run could do anything; it stays when the row is moved
-- or released, so that nobody calls the outside under a key that has been forgotten there.
CREATE TABLE log.due_work (
    due_at timestamptz NOT NULL,
    ready_at timestamptz NOT NULL,
    lease_until timestamptz,
    first_run_at timestamptz,
    claimed_at timestamptz,
    caused_by_position bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    runs_on_clock boolean NOT NULL,
    held boolean NOT NULL DEFAULT false,
    tenant_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    clock_id text COLLATE "C",
    caused_by_event_id text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    lease_owner text COLLATE "C",
    last_error text,
    PRIMARY KEY (tenant_id, kind, subject),
    CHECK (clock_id IS NOT NULL OR NOT runs_on_clock)
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX due_work_ready ON log.due_work (kind, ready_at) WHERE NOT runs_on_clock AND NOT held;
CREATE INDEX due_work_on_clock ON log.due_work (tenant_id, clock_id, due_at, kind, subject) WHERE runs_on_clock;
CREATE INDEX due_work_outstanding ON log.due_work (tenant_id, clock_id)
    WHERE clock_id IS NOT NULL AND NOT runs_on_clock;

-- A cache of long streams' states: dropping it changes nothing. `fingerprint` names the code that folded the state.
CREATE TABLE log.snapshots (
    version integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (tenant_id, stream_type, stream_id)
);
