"""Kafka: the topics, what a record carries, and the relay that publishes the log."""
