"""The real PostgreSQL and the real Kafka, started from Python packages: no Docker, no system packages."""
