-- The events of meters, for the aggregator, which sees nothing else of the log. A meter is named by its id or its code;
-- codes are claimed for ever.
CREATE OR REPLACE FUNCTION usage.meter_events(tenants text[], names text[])
    RETURNS TABLE (tenant_id text, payload bytea)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        WITH asked AS (SELECT DISTINCT t, n FROM unnest(tenants, names) AS u (t, n)),
             meters AS (
                 SELECT a.t, a.n AS id FROM asked a
                 UNION
                 SELECT c.tenant_id, c.owner FROM asked a
                     JOIN log.claims c ON c.tenant_id = a.t AND c.kind = 'meter.code' AND c.value = a.n)
        SELECT e.tenant_id, e.payload FROM meters m
            JOIN log.events e ON e.tenant_id = m.t AND e.stream_type = 'meter' AND e.stream_id = m.id
        ORDER BY e.tenant_id, e.stream_id, e.stream_version;
END
$$;
