"""The append-only log in PostgreSQL, which is also the outbox."""
