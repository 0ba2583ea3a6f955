"""From where to where Kafka's partitions of usage reach; a closing waits for the end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.settings import Settings
from usage.wire import topic_of


class KafkaEnds:
    """Asks the brokers, on a connection that is made at the first question and anew after a failure."""

    def __init__(self, settings: Settings, *, bootstrap: str) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._topic = topic_of(settings.kafka.topic_prefix)
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def end(self, partition: int) -> int:
        """The offset after the last record that was acknowledged. Raises what aiokafka raises."""
        return await self._asked(partition, lambda consumer, place: consumer.end_offsets([place]))

    async def beginning(self, partition: int) -> int:
        """The offset of the first record that is kept. Raises what aiokafka raises."""
        return await self._asked(partition, lambda consumer, place: consumer.beginning_offsets([place]))

    async def _asked(self, partition: int, ask: Callable[[Any, TopicPartition], Awaitable[Any]]) -> int:
        async with self._lock:
            consumer = await self._connected()
            try:
                place = TopicPartition(self._topic, partition)
                return int((await ask(consumer, place))[place])
            except BaseException:
                await self._disconnect()
                raise

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._lock:
            await self._disconnect()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                group_id=None,
                isolation_level="read_committed",
                request_timeout_ms=self._settings.kafka.request_timeout_ms,
            )
            self._consumer = consumer
            try:
                await consumer.start()
            except BaseException:
                await self._disconnect()
                raise
        return self._consumer

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await consumer.stop()
