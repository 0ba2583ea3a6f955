-- The append: one call records a batch, and the write is the check. Arrays of one group have one length.
--
-- Writers call it by named notation (infra/event_store/append_call.py). A parameter that is added once there is a release
-- gets a default, so that the processes of the release before can still call it while the new one is rolled out.
--
-- It is shaped by what the driver does fast: it looks at every element of an array several times, so the long columns
-- come as the text of an array, and byte strings as one string with starts (from 1) and lengths. In refusals, people
-- and causations '' stands for null, in answers a length of -1, in postings and decisions one of 0. `event_times`
-- holds each effective time once.
--
-- Raises TB001 when what the batch was decided on has changed (the message says what: streams, reads, results, claims),
-- or when the time it was decided at is further from the log's than it may be (clock): by a clock that is wrong, or too
-- long ago. Events are found by the times in their ids, and what was decided later must not bear an earlier time.
-- Raises TB002 when it seals data for a person whose key is gone or there already, and TB004 when it brings a credential
-- that is somebody's already, or for nobody. Either way nothing is written.
DROP FUNCTION IF EXISTS log.append;
CREATE FUNCTION log.append(
    stream_tenants text[], stream_types text[], stream_ids text[], stream_versions int[], stream_changes int[],
    read_tenants text[], read_types text[], read_ids text[], read_versions int[],
    result_tenants text[], result_keys text[], result_hashes bytea, result_refusals text[], result_answers bytea,
    answer_starts int[], answer_lengths int[], result_people text[], result_upto int[], result_events int[],
    event_ids text[], event_tenants text[], event_streams text[], event_stream_ids text[], event_versions int[],
    event_types text[], event_schemas int[], event_payloads bytea, payload_starts int[], payload_lengths int[],
    event_postings bytea, postings_starts int[], postings_lengths int[],
    event_decisions bytea, decision_starts int[], decision_lengths int[], event_keys text[],
    event_times timestamptz[], event_time_places int[],
    event_correlations text[], event_causations text[], event_actors text[],
    freed_tenants text[], freed_kinds text[], freed_values text[], freed_owners text[],
    absent_tenants text[], absent_kinds text[], absent_values text[],
    taken_tenants text[], taken_kinds text[], taken_values text[], taken_owners text[],
    done_tenants text[], done_kinds text[], done_subjects text[],
    work_tenants text[], work_kinds text[], work_subjects text[], work_due timestamptz[], work_after_ms bigint[],
    work_clocks text[], work_causes int[], work_correlations text[],
    erased_tenants text[], erased_people text[],
    key_tenants text[], key_people text[], key_wrapped bytea[], key_salts bytea[],
    data_tenants text[], data_people text[], data_references text[], data_sealed bytea[],
    batch_decided_at timestamptz, clock_apart_max interval, access_changes jsonb DEFAULT NULL, search_terms jsonb DEFAULT NULL,
    OUT base bigint, OUT recorded timestamptz
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    events int := cardinality(event_ids);
    wanted int;
    written int;
BEGIN
    UPDATE log.head SET position = position + events, recorded_at = greatest(recorded_at, clock_timestamp())
    RETURNING position - events, recorded_at INTO base, recorded;
    IF recorded - batch_decided_at NOT BETWEEN -clock_apart_max AND clock_apart_max THEN
        RAISE EXCEPTION 'clock' USING ERRCODE = 'TB001';
    END IF;

    wanted := cardinality(stream_ids);
    IF wanted > 0 THEN
        INSERT INTO log.streams AS s (tenant_id, stream_type, stream_id, version, last_change)
        SELECT * FROM unnest(stream_tenants, stream_types, stream_ids, stream_versions, stream_changes)
        ON CONFLICT (tenant_id, stream_type, stream_id) DO UPDATE
            SET version = excluded.version, last_change = excluded.last_change
            WHERE s.version = excluded.version - excluded.last_change;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> wanted THEN
            RAISE EXCEPTION 'streams' USING ERRCODE = 'TB001';
        END IF;
    END IF;

    IF cardinality(read_ids) > 0 THEN
        PERFORM FROM unnest(read_tenants, read_types, read_ids, read_versions) AS r (tenant, type, id, version)
        WHERE r.version <> coalesce((
            SELECT s.version FROM log.streams s
            WHERE s.tenant_id = r.tenant AND s.stream_type = r.type AND s.stream_id = r.id), 0)
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'reads' USING ERRCODE = 'TB001';
        END IF;
    END IF;

    INSERT INTO log.command_results (tenant_id, idempotency_key, request_hash, refusal_code, answer, answer_person_id,
                                     position, events, decided_at)
    SELECT r.tenant, r.key, substr(result_hashes, 32 * r.nth::int - 31, 32), nullif(r.refusal, ''),
           CASE WHEN r.length >= 0 THEN substr(result_answers, r.start, r.length) END, nullif(r.person, ''),
           base + r.upto, r.events, recorded
    FROM unnest(result_tenants, result_keys, result_refusals, answer_starts, answer_lengths, result_people,
                result_upto, result_events) WITH ORDINALITY
        AS r (tenant, key, refusal, start, length, person, upto, events, nth)
    ON CONFLICT (tenant_id, idempotency_key) DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> cardinality(result_keys) THEN
        RAISE EXCEPTION 'results' USING ERRCODE = 'TB001';
    END IF;

    IF cardinality(freed_values) > 0 THEN
        DELETE FROM log.claims c
        USING unnest(freed_tenants, freed_kinds, freed_values, freed_owners) AS f (tenant, kind, value, owner)
        WHERE c.tenant_id = f.tenant AND c.kind = f.kind AND c.value = f.value AND c.owner = f.owner;
    END IF;
    IF cardinality(absent_values) > 0 THEN
        PERFORM FROM unnest(absent_tenants, absent_kinds, absent_values) AS a (tenant, kind, value)
        WHERE EXISTS (SELECT FROM log.claims c
                      WHERE c.tenant_id = a.tenant AND c.kind = a.kind AND c.value = a.value)
        LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'claims' USING ERRCODE = 'TB001';
        END IF;
    END IF;
    wanted := cardinality(taken_values);
    IF wanted > 0 THEN
        INSERT INTO log.claims (tenant_id, kind, value, owner)
        SELECT * FROM unnest(taken_tenants, taken_kinds, taken_values, taken_owners)
        ON CONFLICT (tenant_id, kind, value) DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> wanted THEN
            RAISE EXCEPTION 'claims' USING ERRCODE = 'TB001';
        END IF;
    END IF;

    IF events > 0 THEN
        INSERT INTO log.events (position, recorded_at, effective_at, stream_version, schema_id, event_id, tenant_id,
                                stream_type, stream_id, event_type, partition_key, actor, correlation_id, causation_id,
                                payload, postings, decision)
        SELECT base + e.nth, recorded, event_times[e.time], e.version, e.schema, e.id, e.tenant, e.stream, e.stream_id,
               e.type, e.key, e.actor, e.correlation, nullif(e.causation, ''),
               substr(event_payloads, e.payload, e.payload_length),
               CASE WHEN e.postings_length > 0 THEN substr(event_postings, e.postings, e.postings_length) END,
               CASE WHEN e.decision_length > 0 THEN substr(event_decisions, e.decision, e.decision_length) END
        FROM unnest(event_ids, event_tenants, event_streams, event_stream_ids, event_versions, event_types,
                    event_schemas, payload_starts, payload_lengths, postings_starts, postings_lengths, decision_starts,
                    decision_lengths, event_keys, event_time_places, event_correlations, event_causations,
                    event_actors) WITH ORDINALITY
            AS e (id, tenant, stream, stream_id, version, type, schema, payload, payload_length, postings,
                  postings_length, decision, decision_length, key, time, correlation, causation, actor, nth);
    END IF;

    IF cardinality(done_subjects) > 0 THEN
        DELETE FROM log.due_work w
        USING unnest(done_tenants, done_kinds, done_subjects) AS d (tenant, kind, subject)
        WHERE w.tenant_id = d.tenant AND w.kind = d.kind AND w.subject = d.subject;
    END IF;
    IF cardinality(work_subjects) > 0 THEN
        INSERT INTO log.due_work (tenant_id, kind, subject, due_at, ready_at, clock_id, runs_on_clock,
                                  caused_by_position, caused_by_event_id, correlation_id)
        SELECT w.tenant, w.kind, w.subject, w.at, w.at, w.clock, w.clock IS NOT NULL AND w.after_ms IS NULL,
               base + w.cause, event_ids[w.cause], w.correlation
        FROM (SELECT *, coalesce(due, clock_timestamp() + after_ms * interval '1 millisecond') AS at
              FROM unnest(work_tenants, work_kinds, work_subjects, work_due, work_after_ms, work_clocks, work_causes,
                          work_correlations)
                  AS u (tenant, kind, subject, due, after_ms, clock, cause, correlation)) AS w
        ON CONFLICT (tenant_id, kind, subject) DO UPDATE
            SET due_at = excluded.due_at, ready_at = excluded.ready_at, clock_id = excluded.clock_id,
                runs_on_clock = excluded.runs_on_clock, caused_by_position = excluded.caused_by_position,
                caused_by_event_id = excluded.caused_by_event_id, correlation_id = excluded.correlation_id,
                lease_owner = NULL, lease_until = NULL, attempts = 0, failures = 0, last_error = NULL,
                held = false;
    END IF;

    IF cardinality(erased_people) > 0 THEN
        DELETE FROM vault.people p USING unnest(erased_tenants, erased_people) AS e (tenant, person)
        WHERE p.tenant_id = e.tenant AND p.person_id = e.person;
        -- Whoever is remembered to be in the portal is so no more.
        PERFORM pg_notify('tallybook_access', '');
    END IF;
    wanted := cardinality(key_people);
    IF wanted > 0 THEN
        INSERT INTO vault.people (tenant_id, person_id, wrapped_key, salt)
        SELECT * FROM unnest(key_tenants, key_people, key_wrapped, key_salts)
        ON CONFLICT (tenant_id, person_id) DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> wanted THEN
            RAISE EXCEPTION 'a person has a key already' USING ERRCODE = 'TB002';
        END IF;
    END IF;
    wanted := cardinality(data_people);
    IF wanted > 0 THEN
        INSERT INTO vault.personal_data (tenant_id, person_id, reference, sealed)
        SELECT d.tenant, d.person, d.reference, d.sealed
        FROM unnest(data_tenants, data_people, data_references, data_sealed) AS d (tenant, person, reference, sealed)
        WHERE EXISTS (SELECT FROM vault.people p WHERE p.tenant_id = d.tenant AND p.person_id = d.person);
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> wanted THEN
            RAISE EXCEPTION 'a person has no key' USING ERRCODE = 'TB002';
        END IF;
    END IF;

    IF search_terms IS NOT NULL THEN
        DELETE FROM vault.search_terms s USING jsonb_to_recordset(search_terms) AS t (tenant text, person text)
        WHERE s.tenant_id = t.tenant AND s.person_id = t.person;
        INSERT INTO vault.search_terms (tenant_id, digest, person_id)
        SELECT t.tenant, d.digest::bigint, t.person
        FROM jsonb_to_recordset(search_terms) AS t (tenant text, person text, digests jsonb),
            jsonb_array_elements_text(t.digests) AS d (digest);
    END IF;

    IF access_changes IS NOT NULL THEN
        PERFORM access.record(access_changes);
    END IF;
END
$$;
