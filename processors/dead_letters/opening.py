"""What a command needs to handle dead letters in a process of its own: connections and a writer."""

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from infra.database import Role, open_pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.opening import open_writer
from infra.event_store.port import Writer
from infra.kafka.dead_letters import KeptLetters
from infra.settings import Settings
from processors.app import CONSUMERS
from processors.consumers import ConsumerParts, Consumers
from processors.dead_letters.replay import DeadLetterReplay
from processors.journeys import Journeys
from schemas.codec import default_codec


class Handling(NamedTuple):
    """What a command needs to handle letters, and the work that is held."""

    letters: KeptLetters
    replay: DeadLetterReplay
    queue: PostgresDueWork
    writer: Writer


@contextlib.asynccontextmanager
async def open_handling(
    settings: Settings, *, dsn: str, owner_dsn: str, consumers: tuple[Consumers, ...] = CONSUMERS
) -> AsyncIterator[Handling]:
    """Connections and a writer of this process's own."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, Role.WRITER, settings.database)
        stack.push_async_callback(pool.close)
        codec = default_codec()
        writer = open_writer(dsn, settings.writer, codec=codec)
        stack.push_async_callback(writer.close)
        letters = KeptLetters(pool)
        queue = PostgresDueWork(pool)
        parts = ConsumerParts(writer, Journeys(settings.processors), codec, pool, settings.kafka.topic_prefix)
        replay = DeadLetterReplay(letters, queue, parts, consumers, settings, owner_dsn=owner_dsn)
        yield Handling(letters, replay, queue, writer)
