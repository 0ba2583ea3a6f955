-- The tenant of whoever has logged in, as the views of this schema ask. By `session_user`: neither SET ROLE nor a
-- setting changes it, and a function of the owner's, which these views are not, would not know it otherwise. Null, and
-- so no rows, for a login that is no tenant's.
CREATE OR REPLACE FUNCTION reporting.tenant() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT l.tenant_id FROM reporting.logins l WHERE l.login = session_user
$$;

-- An amount of minor units as a decimal number with its currency's decimals (domain/kernel/currency.py): 1999 EUR is
-- 19.99, 1999 JPY is 1999. Written so that PostgreSQL puts it into the query that asks.
CREATE OR REPLACE FUNCTION reporting.major_units(minor bigint, currency text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND',
                          'VUV', 'XAF', 'XOF', 'XPF') THEN minor::numeric
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN minor * 0.001
        WHEN currency IN ('CLF', 'UYW') THEN minor * 0.0001
        ELSE minor * 0.01
    END
$$;

-- The group of those logins. It reads the views and nothing below them: they are the owner's, and so is what they read.
GRANT USAGE ON SCHEMA reporting TO tallybook_reporting;
REVOKE EXECUTE ON FUNCTION reporting.tenant, reporting.major_units FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reporting.tenant, reporting.major_units TO tallybook_reporting;
