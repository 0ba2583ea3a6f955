-- What quarter hours come to by day, in UTC: a month is some thirty rows to add up, not three thousand. An aggregator
-- adds to both in one transaction, and all that came late is in it.
CREATE TABLE usage.days (
    series bytea NOT NULL,
    day integer NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    total numeric NOT NULL,
    PRIMARY KEY (series, day)
) WITH (fillfactor = 70);
COMMENT ON COLUMN usage.days.day IS 'days since 1970 in UTC';
COMMENT ON COLUMN usage.days.total IS 'in units of 10^-9';
INSERT INTO usage.days (series, day, tenant_id, n, total)
SELECT series, (bucket - CASE WHEN bucket < 0 THEN 95 ELSE 0 END) / 96, tenant_id, sum(n), sum(total)
FROM usage.aggregates GROUP BY 1, 2, 3;
