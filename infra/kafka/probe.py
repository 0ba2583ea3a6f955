"""Whether Kafka answers: a question on a connection of its own, which does not wait as long as clients do."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

NO_LEADER = -1


class KafkaSilent(Exception):
    """No broker answers, or a topic cannot be read and written; the message says why."""


class KafkaProbe:
    """Asks the brokers for the state of topics. One question at a time; the connection is kept between them."""

    def __init__(self, bootstrap: str, topics: Sequence[str], *, timeout_ms: int) -> None:
        self._bootstrap = bootstrap
        self._topics = list(topics)
        self._timeout_ms = timeout_ms
        self._connection: Any = None  # aiokafka is untyped

    async def check(self) -> None:
        """Return if a broker answers and every partition of the topics that exist has a leader. Raises KafkaSilent."""
        whys: list[str] = []
        # The hosts come in random order, so that a broker which is down is not asked first every time.
        for host, port, _ in collect_hosts(self._bootstrap):
            try:
                answer = await self._ask(host, port)
            except TimeoutError:
                self.close()
                whys.append(f"{host}:{port} gave no answer within {self._timeout_ms} ms")
            except (OSError, KafkaError) as error:
                self.close()
                whys.append(f"{host}:{port}: {error}")
            else:
                _require_leaders(answer)
                return
        raise KafkaSilent("; ".join(whys))

    async def _ask(self, host: str, port: int) -> Any:
        async with asyncio.timeout(self._timeout_ms / 1000):
            connection = self._connection
            if connection is None or not connection.connected():
                connection = self._connection = await create_conn(host, port, request_timeout_ms=self._timeout_ms)
            return await connection.send(MetadataRequest(self._topics, allow_auto_topic_creation=False))

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _require_leaders(answer: Any) -> None:
    headless = [
        f"{topic['topic']}/{partition['partition']}"
        for topic in answer.to_object()["topics"]
        for partition in topic["partitions"]
        if partition["leader"] == NO_LEADER
    ]
    if headless:
        raise KafkaSilent(f"no leader: {', '.join(headless[:5])}{' …' if len(headless) > 5 else ''}")
