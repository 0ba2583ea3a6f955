"""Whoever looks whether usage has reached a threshold, for tests that look themselves."""

import contextlib
from collections.abc import AsyncIterator

from infra.database import Pool
from infra.event_store.log import PostgresLog
from infra.event_store.port import Writer
from infra.event_store.postgres import PostgresStorage
from infra.settings import Settings
from processors.states import StateReader
from processors.usage_thresholds import UsageThresholds
from schemas.codec import default_codec
from usage.ends import KafkaEnds


@contextlib.asynccontextmanager
async def usage_thresholds(
    dsn: str, settings: Settings, writer: Writer, pool: Pool, *, bootstrap: str
) -> AsyncIterator[UsageThresholds]:
    """One that has nothing in memory. The pool's role is the writer's."""
    reading, ends = PostgresStorage(dsn, settings.writer), KafkaEnds(settings, bootstrap=bootstrap)
    try:
        states = StateReader(reading, default_codec(), lambda _: None)
        yield UsageThresholds(writer, states, PostgresLog(pool), pool, ends, settings)
    finally:
        await ends.close()
        await reading.close()
