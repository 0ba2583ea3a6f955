-- The relay: who leads, how far it has come, and the last position it published per partition.
-- One row. `incarnation` counts how often publishing began from the start; `epoch` fences relays that lost the lease.
CREATE TABLE relay.state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    incarnation bigint NOT NULL,
    epoch bigint NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    partitions integer,
    leader text,
    leader_backend_pid integer,
    lease_until timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
INSERT INTO relay.state (incarnation, epoch, position) VALUES (1, 0, 0);

CREATE TABLE relay.published (
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 10);
