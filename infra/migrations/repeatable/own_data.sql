-- Whose a stream is, and what it owns, as the reader's policies ask where a customer is set. They are functions in
-- PL/pgSQL so that every other query is planned without them: what they ask, as a subquery, would be planned each time.
CREATE OR REPLACE FUNCTION log.is_own_stream(tenant_id text, stream_type text, stream_id text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- With the caller's rights: of another customer's stream the caller sees no event.
    RETURN EXISTS (SELECT FROM log.events e
                   WHERE e.tenant_id = is_own_stream.tenant_id AND e.stream_type = is_own_stream.stream_type
                       AND e.stream_id = is_own_stream.stream_id AND e.stream_version = 1);
END
$$;

CREATE OR REPLACE FUNCTION log.is_own_claim(tenant_id text, owner text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM log.streams s
                   WHERE s.tenant_id = is_own_claim.tenant_id AND s.stream_id = is_own_claim.owner);
END
$$;
