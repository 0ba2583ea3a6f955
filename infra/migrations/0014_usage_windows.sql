-- A period may be closed after a later one: where it ends is no longer where the meter is closed up to.
ALTER TABLE usage.closings ADD COLUMN end_bucket integer;
UPDATE usage.closings SET end_bucket = bucket;
ALTER TABLE usage.closings ALTER COLUMN end_bucket SET NOT NULL;
COMMENT ON COLUMN usage.closings.end_bucket IS 'the first one after the period: until falls at its beginning, or within the one before';
COMMENT ON COLUMN usage.closings.bucket IS 'the first that is not closed by any closing so far';
COMMENT ON COLUMN usage.closings.first_bucket IS 'the first one of the period; what closings before it took is theirs';
