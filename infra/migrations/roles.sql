-- The roles, whose names `tallybook.roles` lists (infra/database.py declares them), and the schemas, which are the
-- owner's. Run with every migration, before anything else, by the database's owner or a superuser.
--
-- Roles are shared by all databases of a server, and two databases may be migrated at once: creating one that is there
-- already, or has just been created next door, is not an error. Roles do not log in: whoever logs in is granted them
-- and takes one on (`SET ROLE`, or the start-up parameter `role`); of `tallybook_reporting` they are members.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY string_to_array(current_setting('tallybook.roles'), ',') LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        FOR attempt IN 1..10 LOOP
            EXIT WHEN pg_has_role(current_user, name, 'SET');
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', name);
            EXCEPTION WHEN unique_violation OR internal_error THEN
                PERFORM pg_sleep(0.05);  -- "tuple concurrently updated": the same grant, made next door
            END;
        END LOOP;
    END LOOP;
    EXECUTE format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO tallybook_owner', current_database());
    -- Else whoever may only read may still make tables, functions and large objects.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    -- The aggregator copies what a poll adds into temporary tables, from which it is merged.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tallybook_metering', current_database());
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE EXECUTE ON FUNCTION pg_catalog.lo_create(oid), pg_catalog.lo_creat(integer),
            pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;
    END IF;
    FOREACH name IN ARRAY ARRAY['access', 'log', 'ops', 'read', 'relay', 'reporting', 'usage', 'vault'] LOOP
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION tallybook_owner', name);
    END LOOP;
END
$$;
