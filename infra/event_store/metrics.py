"""What the writer, the log and the due work tell about themselves."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_COMMANDS = Histogram(
    "tallybook_writer_batch_commands", "Commands in one group commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
COMMIT_SECONDS = Histogram(
    "tallybook_writer_commit_seconds",
    "From sending a batch to its commit",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
QUEUE_DEPTH = Gauge("tallybook_writer_queue_commands", "Commands that wait for the next batch")
QUEUE_FULL = Counter("tallybook_writer_queue_full", "Commands turned away because the queue was full")
CONFLICTS = Counter("tallybook_writer_conflicts", "Batches that another process's writes overtook", ("stale",))
LOSSES = Counter("tallybook_writer_connection_losses", "Batches whose connection broke, so that they were tried again")
BISECTIONS = Counter("tallybook_writer_bisections", "Batches halved to find the command that cannot be written")
OUTCOMES = Counter("tallybook_writer_outcomes", "Commands by what became of them", ("outcome",))
REHEARSALS = Counter("tallybook_writer_rehearsals", "Commands that were tried, by what became of them", ("outcome",))
