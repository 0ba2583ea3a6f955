-- Who has asked how often, wherever they asked: of each bucket one number, the time at which it is full again. Nothing
-- that must be kept, so it is unlogged: writing costs no flush, and after a crash everybody's bucket is full.
CREATE UNLOGGED TABLE access.rate_buckets (
    name text COLLATE "C" PRIMARY KEY,
    full_at double precision NOT NULL
) WITH (fillfactor = 70);
COMMENT ON COLUMN access.rate_buckets.full_at IS 'seconds since 1970; of one that is over nothing needs to be known';

-- Takes up to `wanted` requests from a bucket that holds `depth` and fills in `window_s`. infra/rate_limits/buckets.py
-- has the same sum.
CREATE FUNCTION access.take_rate(bucket text, depth integer, window_s double precision, wanted integer,
                                 OUT taken integer, OUT left_over integer,
                                 OUT full_in_s double precision, OUT next_in_s double precision)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cost double precision := window_s / depth;
    now_s double precision;
    known double precision;
    free integer;
BEGIN
    -- Takes the row's lock, whether it was there or not: the sum is one process's at a time.
    INSERT INTO access.rate_buckets AS b (name, full_at) VALUES (bucket, 0)
    ON CONFLICT (name) DO UPDATE SET full_at = b.full_at RETURNING b.full_at INTO known;
    now_s := extract(epoch FROM clock_timestamp());
    full_in_s := greatest(known - now_s, 0);
    free := greatest(floor((window_s - full_in_s) / cost + 1e-6), 0);
    taken := least(wanted, free);
    left_over := free - taken;
    full_in_s := full_in_s + taken * cost;
    next_in_s := greatest(full_in_s + cost - window_s, 0);
    IF taken > 0 THEN
        UPDATE access.rate_buckets SET full_at = now_s + full_in_s WHERE name = bucket;
    END IF;
END
$$;

CREATE FUNCTION access.forget_full_buckets() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM access.rate_buckets WHERE full_at < extract(epoch FROM clock_timestamp())
$$;
