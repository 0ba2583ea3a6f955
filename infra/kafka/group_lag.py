"""How far a consumer group is behind its topics, as the brokers know it: all its processes together."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


class Lag(NamedTuple):
    """Records of all partitions: those that are acknowledged, and those that are not yet."""

    committed: int
    behind: int


class GroupLag:
    """Asks for what a group has acknowledged and where its topics end; takes no part in the group."""

    def __init__(self, bootstrap: str, *, group: str, topics: Sequence[str], timeout_ms: int) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topics = topics
        self._timeout_ms = timeout_ms
        self._clients: tuple[Any, Any] | None = None  # aiokafka is untyped

    async def measure(self) -> Lag:
        """Ask now. Raises what aiokafka raises; the next one then connects anew."""
        try:
            admin, reader = await self._connected()
            places = [
                TopicPartition(topic, partition)
                for topic in self._topics
                for partition in reader.partitions_for_topic(topic) or ()
            ]
            committed = await admin.list_consumer_group_offsets(self._group)
            ends = await reader.end_offsets(places)
        except BaseException:
            await self.close()
            raise
        reached = {place: max(0, committed[place].offset) if place in committed else 0 for place in places}
        behind = sum(max(0, ends[place] - offset) for place, offset in reached.items())
        return Lag(sum(reached.values()), behind)

    async def _connected(self) -> tuple[Any, Any]:
        if self._clients is None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=self._timeout_ms)
            reader = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap, group_id=None, request_timeout_ms=self._timeout_ms
            )
            self._clients = admin, reader
            await admin.start()
            await reader.start()
            await reader.topics()  # brings their partitions to its knowledge
        return self._clients

    async def close(self) -> None:
        """Let go of the connections."""
        clients, self._clients = self._clients, None
        for stop in (clients[0].close, clients[1].stop) if clients else ():
            with contextlib.suppress(Exception):
                await stop()
