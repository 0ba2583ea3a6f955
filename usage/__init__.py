"""Usage: events on their way through Kafka, what they add up to, and the closing of a period."""
