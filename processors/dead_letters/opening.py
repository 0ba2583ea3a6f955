"""What a command needs to handle dead letters in a process of its own: connections, a producer, a writer."""

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from infra.database import Role, open_pool
from infra.event_store.due_work import PostgresDueWork
from infra.event_store.opening import open_writer
from infra.kafka.dead_letters import DeadLetters
from infra.settings import Settings
from processors.app import CONSUMERS
from processors.consumers import ConsumerParts, Consumers
from processors.dead_letters.replay import DeadLetterReplay
from processors.journeys import Journeys
from schemas.codec import default_codec


class Handling(NamedTuple):
    """What a command needs to handle letters."""

    letters: DeadLetters
    replay: DeadLetterReplay
    queue: PostgresDueWork


@contextlib.asynccontextmanager
async def open_handling(
    settings: Settings, *, dsn: str, owner_dsn: str, bootstrap: str, consumers: tuple[Consumers, ...] = CONSUMERS
) -> AsyncIterator[Handling]:
    """Connections, a producer and a writer of this process's own."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, Role.WRITER, settings.database)
        stack.push_async_callback(pool.close)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        await producer.start()
        stack.push_async_callback(producer.stop)
        codec = default_codec()
        writer = open_writer(dsn, settings.writer, codec=codec)
        stack.push_async_callback(writer.close)
        letters = DeadLetters(pool, producer, topic_prefix=settings.kafka.topic_prefix)
        queue = PostgresDueWork(pool)
        parts = ConsumerParts(writer, Journeys(settings.processors), codec, pool, settings.kafka.topic_prefix)
        replay = DeadLetterReplay(letters, queue, parts, consumers, settings, owner_dsn=owner_dsn)
        yield Handling(letters, replay, queue)
