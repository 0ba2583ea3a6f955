-- A period may be counted by several closings, each until then, while it runs.
ALTER TABLE usage.closings ADD COLUMN charge text COLLATE "C", ADD COLUMN is_last boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN usage.closings.charge IS 'what counts one period together: the reference of the first of its closings; null where one does';
COMMENT ON COLUMN usage.closings.is_last IS 'whether the period is over with it; if not, the next one of the charge counts what comes late';
