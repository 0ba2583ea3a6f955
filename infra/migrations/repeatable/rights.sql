-- Who may do what: one line per table or function, one column per role. Nothing else grants anything but the read
-- models' own tables, which are made by `projections.folding.tables`, and what the group of reporting logins reads
-- (`reporting.sql`, `projections.reports.views`).
--
-- A table with a `tenant_id` has row security, forced, so that its owner is held too. The reader sees the rows of the
-- one tenant named by `tallybook.tenant`, and none where none is named; the other roles serve all tenants. Where
-- `tallybook.customer` names a customer, the reader sees only what is that customer's own.
DO $rights$
DECLARE
    place record;
    part record;
    is_table boolean;
    has_tenants boolean;
    own text;
BEGIN
    FOR place IN SELECT * FROM (VALUES
        --                          writer                             relay     projector                 reader    access  metering
        ('log.head',                'SELECT, UPDATE',                  'SELECT', 'SELECT',                 'SELECT', '', ''),
        ('log.streams',             'SELECT, INSERT, UPDATE',          '',       '',                       'SELECT', '', ''),
        ('log.events',              'SELECT, INSERT',                  'SELECT', 'SELECT',                 'SELECT', '', ''),
        ('log.command_results',     'SELECT, INSERT',                  '',       '',                       'SELECT', '', ''),
        ('log.claims',              'SELECT, INSERT, DELETE',          '',       '',                       'SELECT', '', ''),
        ('log.due_work',            'SELECT, INSERT, UPDATE, DELETE',  '',       '',                       'SELECT', '', ''),
        ('log.snapshots',           'SELECT, INSERT, UPDATE, DELETE',  '',       '',                       '',       '', ''),
        ('log.partitioning',        'SELECT',                          '',       '',                       '',       '', ''),
        ('vault.people',            'SELECT, INSERT, DELETE',          '',       '',                       'SELECT', '', ''),
        ('vault.personal_data',     'SELECT, INSERT, DELETE',          '',       '',                       'SELECT', '', ''),
        ('vault.search_terms',      'SELECT, INSERT, DELETE',          '',       '',                       'SELECT', '', ''),
        ('access.tenants',          '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.api_keys',         '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.memberships',      '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.invitations',      '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.invitation_addresses','',                             '',       '',                       '',       'SELECT, INSERT, DELETE', ''),
        ('access.entries',          '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.identity_links',   '',                                '',       '',                       'SELECT', 'SELECT', ''),
        ('access.users',            '',                                '',       '',                       '',       'SELECT', ''),
        ('access.api_key_digests',  '',                                '',       '',                       '',       'SELECT', ''),
        ('access.passwords',        '',                                '',       '',                       '',       'SELECT, UPDATE', ''),
        ('access.second_factors',   '',                                '',       '',                       '',       'SELECT', ''),
        ('access.factor_secrets',   '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE, DELETE', ''),
        ('access.recovery_codes',   '',                                '',       '',                       '',       'SELECT, UPDATE', ''),
        ('access.one_time_tokens',  '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE, DELETE', ''),
        ('access.sessions',         '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE, DELETE', ''),
        ('access.portal_sessions',  '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE, DELETE', ''),
        ('access.signing_keys',     '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE', ''),
        ('access.log_in_failures',  '',                                '',       '',                       '',       'SELECT, INSERT, UPDATE, DELETE', ''),
        ('access.auth_events',      '',                                '',       '',                       'SELECT', 'SELECT, INSERT', ''),
        ('access.api_key_uses',     '',                                '',       '',                       'SELECT', 'SELECT, INSERT, UPDATE', ''),
        ('relay.state',             'SELECT',                          'SELECT, UPDATE',
                                                                                 'SELECT',                 'SELECT', '', ''),
        ('relay.published',         'SELECT',                          'SELECT, INSERT, UPDATE, DELETE',
                                                                                 'SELECT',                 'SELECT', '', ''),
        ('ops.dead_letters',        'SELECT, INSERT, UPDATE',          '',       'SELECT, INSERT, UPDATE', '',       '', 'SELECT, INSERT, UPDATE'),
        ('ops.heartbeats',          '',                                '',       '',                       'SELECT', '', ''),
        ('read.projections',        'SELECT',                          'SELECT', 'SELECT, UPDATE',         'SELECT', '', ''),
        ('read.models',             'SELECT',                          'SELECT', 'SELECT',                 'SELECT', '', ''),
        ('read.checkpoints',        'SELECT',                          'SELECT', 'SELECT, INSERT, UPDATE', 'SELECT', '', ''),
        ('read.held_keys',          'SELECT',                          'SELECT', 'SELECT, INSERT, DELETE', 'SELECT', '', ''),
        ('reporting.logins',        '',                                '',       '',                       '',       '', ''),
        ('reporting.definitions',   '',                                '',       '',                       '',       '', ''),
        ('reporting.tenant',        '',                                '',       '',                       '',       '', ''),
        ('reporting.major_units',   '',                                '',       '',                       'EXECUTE','', ''),
        ('usage.checkpoints',       'SELECT, UPDATE',                  '',       '',                       'SELECT', '', 'SELECT, INSERT, UPDATE'),
        ('usage.dedupe_blocks',     'SELECT',                          '',       '',                       '',       '', 'SELECT, INSERT, DELETE'),
        ('usage.adopted_meters',    'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT'),
        ('usage.series',            'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT'),
        ('usage.aggregates',        'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT, UPDATE'),
        ('usage.days',              'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT, UPDATE'),
        ('usage.tallies',           'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT, UPDATE, DELETE'),
        ('usage.conflicts',         'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT, DELETE'),
        ('usage.voids',             'SELECT',                          '',       '',                       'SELECT', '', 'SELECT, INSERT, DELETE'),
        ('usage.closings',          'SELECT, INSERT',                  '',       '',                       'SELECT', '', 'SELECT'),
        ('usage.touched',           'SELECT, UPDATE, DELETE',          '',       '',                       '',       '', 'INSERT'),
        ('usage.looks',             'SELECT, INSERT, UPDATE, DELETE',  '',       '',                       '',       '', ''),
        ('usage.meter_events',      '',                                '',       '',                       '',       '', 'EXECUTE'),
        ('log.append',              'EXECUTE',                         '',       '',                       '',       '', ''),
        ('log.is_own_stream',       '',                                '',       '',                       'EXECUTE','', ''),
        ('log.is_own_claim',        '',                                '',       '',                       'EXECUTE','', ''),
        ('ops.beat',                'EXECUTE',                         'EXECUTE','EXECUTE',                '',       '', 'EXECUTE'),
        ('ops.leave',               'EXECUTE',                         'EXECUTE','EXECUTE',                '',       '', 'EXECUTE'),
        ('log.make_partitions',     'EXECUTE',                         '',       '',                       '',       '', ''),
        ('access.find_api_key',     'EXECUTE',                         '',       '',                       'EXECUTE','EXECUTE', ''),
        ('access.is_erased_customer', '',                              '',       '',                       '',       'EXECUTE', ''),
        ('access.record',           'EXECUTE',                         '',       '',                       '',       '', ''),
        ('access.end_sessions',     '',                                '',       '',                       '',       '', ''),
        ('access.keep_credential',  '',                                '',       '',                       '',       '', ''),
        ('access.replace_recovery_codes','',                           '',       '',                       '',       'EXECUTE', ''),
        ('access.list_tenants',     '',                                '',       '',                       '',       'EXECUTE', ''),
        ('access.make_auth_partitions','',                             '',       '',                       '',       'EXECUTE', ''),
        ('access.rate_buckets',     '',                                '',       '',                       '',       '', ''),
        ('access.take_rate',        '',                                '',       '',                       '',       'EXECUTE', ''),
        ('access.forget_full_buckets','',                              '',       '',                       '',       'EXECUTE', ''),
        ('access.forget_auth_events','',                               '',       '',                       '',       'EXECUTE', '')
    ) AS t (name, writer, relay, projector, reader, access, metering) LOOP
        is_table := to_regclass(place.name) IS NOT NULL;
        has_tenants := is_table AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = to_regclass(place.name) AND attname = 'tenant_id');
        IF NOT is_table THEN
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', place.name);
        END IF;
        IF has_tenants THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', place.name);
            FOR part IN SELECT polname FROM pg_policy WHERE polrelid = to_regclass(place.name) LOOP
                EXECUTE format('DROP POLICY %I ON %s', part.polname, place.name);
            END LOOP;
            EXECUTE format('CREATE POLICY owner_all ON %s TO tallybook_owner USING (true) WITH CHECK (true)', place.name);
        END IF;
        FOR part IN SELECT 'tallybook_' || key AS role, value AS rights
                    FROM jsonb_each_text(to_jsonb(place) - 'name') LOOP
            EXECUTE format('REVOKE ALL ON %s %s FROM %I',
                           CASE WHEN is_table THEN 'TABLE' ELSE 'FUNCTION' END, place.name, part.role);
            CONTINUE WHEN part.rights = '';
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', split_part(place.name, '.', 1), part.role);
            EXECUTE format('GRANT %s ON %s %s TO %I',
                           part.rights, CASE WHEN is_table THEN 'TABLE' ELSE 'FUNCTION' END, place.name, part.role);
            IF has_tenants AND part.role = 'tallybook_reader' THEN
                EXECUTE format('CREATE POLICY own_tenant ON %s FOR SELECT TO tallybook_reader USING '
                               '(tenant_id = nullif(current_setting(''tallybook.tenant'', true), ''''))', place.name);
                -- Whether a customer is set is a subquery, worked out once a query; else it would be once a row.
                own := CASE
                    WHEN place.name IN ('log.events', 'read.held_keys') THEN
                        'partition_key = tenant_id || '':'' || current_setting(''tallybook.customer'', true)'
                    -- A stream is whose its events are; so is what a stream owns.
                    WHEN place.name = 'log.streams' THEN
                        'log.is_own_stream(tenant_id, stream_type, stream_id)'
                    WHEN place.name = 'log.claims' THEN 'log.is_own_claim(tenant_id, owner)'
                    WHEN place.name IN ('vault.people', 'vault.personal_data', 'vault.search_terms') THEN
                        'person_id = current_setting(''tallybook.customer'', true)'
                    WHEN place.name IN ('usage.series', 'usage.conflicts', 'usage.voids', 'usage.closings') THEN
                        'customer_id = current_setting(''tallybook.customer'', true)'
                    -- What counts something of theirs: a figure is made by the meter's rule.
                    WHEN place.name = 'usage.adopted_meters' THEN
                        'EXISTS (SELECT FROM usage.series s WHERE s.tenant_id = adopted_meters.tenant_id '
                        'AND s.meter_id = adopted_meters.meter_id)'
                    -- Whose the series is; its own policy tells.
                    WHEN place.name IN ('usage.aggregates', 'usage.days', 'usage.tallies') THEN
                        format('EXISTS (SELECT FROM usage.series s WHERE s.series = %s.series)',
                               split_part(place.name, '.', 2))
                    ELSE 'false' END;
                EXECUTE format('CREATE POLICY own_customer ON %s AS RESTRICTIVE FOR SELECT TO tallybook_reader USING '
                               '((SELECT coalesce(current_setting(''tallybook.customer'', true), '''')) = '''' OR %s)',
                               place.name, own);
            ELSIF has_tenants THEN
                EXECUTE format('CREATE POLICY %I ON %s TO %I USING (true) WITH CHECK (true)',
                               part.role || '_all', place.name, part.role);
            END IF;
        END LOOP;
    END LOOP;
END
$rights$;
