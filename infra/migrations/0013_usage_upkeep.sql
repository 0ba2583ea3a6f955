-- Tallies that events and their voids have brought to nothing are found without a look at the others.
CREATE INDEX tallies_of_nothing ON usage.tallies (bucket) WHERE times = 0;
