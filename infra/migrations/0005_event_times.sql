-- An event is looked up by its id through the time in it: positions and times rise together, so a range index, which is
-- a thousandth of the size of one by id, finds the few pages that it can be on.
SET LOCAL ROLE tallybook_owner;

CREATE INDEX events_recorded_at ON log.events USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);

RESET ROLE;
