"""Reading one's own writes: a query waits until the read models hold everything up to a position of the log.

However many queries wait, one look at the database serves them all, and nobody looks while nobody waits.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from infra.database import Pool
from infra.kafka.topics import full_name
from infra.settings import Settings
from projections.read_model import Projection

_LOOK: Final = """
SELECT s.position AS relayed, p.name AS projection, p.fold, c.partition, coalesce(c.position, 0) AS projected,
    r.position AS published
FROM relay.state s CROSS JOIN read.projections p
LEFT JOIN (relay.published r JOIN unnest($1::text[], $2::text[]) AS t (topic, projection) ON t.topic = r.topic)
    ON t.projection = p.name
LEFT JOIN read.checkpoints c ON c.projection = p.name AND c.fold = p.fold AND c.partition = r.partition
"""


class PositionNotReached(Exception):
    """The read models were not up to date in time; ask again later."""


class _Partition(NamedTuple):
    published: int
    projected: int


class _Look(NamedTuple):
    """One look: how far the relay is, and per projection its partitions."""

    relayed: int
    partitions: Mapping[str, list[_Partition]]

    def reached(self, position: int, projection: Projection) -> bool:
        """Whether the projection holds all that was published to it up to a position."""
        return self.relayed >= position and all(
            partition.projected >= min(partition.published, position)
            for partition in self.partitions.get(projection.value, ())
        )


class Positions:
    """Shared by all queries of a process. `pool` is of any role that may read the checkpoints."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._poll_s = settings.projections.position_poll_ms / 1000
        self._topics = [full_name(settings.kafka.topic_prefix, projection.topic) for projection in Projection]
        self._projections = [projection.value for projection in Projection]
        self._waiting: dict[asyncio.Future[None], tuple[int, frozenset[Projection]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._last: _Look | None = None

    async def wait_for(self, position: int, *projections: Projection, timeout_ms: int) -> None:
        """Return once these projections (default: all) hold everything up to the position.

        Raises PositionNotReached after the time-out, and what the database raises.
        """
        wanted = frozenset(projections or Projection)
        if self._last is not None and all(self._last.reached(position, each) for each in wanted):
            return  # what was reached once stays reached
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[reached] = (position, wanted)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_needed())
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await reached
        except TimeoutError:
            raise PositionNotReached(f"position {position} was not reached within {timeout_ms} ms") from None
        finally:
            self._waiting.pop(reached, None)

    async def _look_while_needed(self) -> None:
        while self._waiting:
            try:
                look = await self._look()
            except Exception as error:
                for future in self._waiting:
                    if not future.done():
                        future.set_exception(error)
                return
            self._last = look
            for future, (position, wanted) in list(self._waiting.items()):
                if not future.done() and all(look.reached(position, each) for each in wanted):
                    future.set_result(None)
                    del self._waiting[future]
            if self._waiting:
                await asyncio.sleep(self._poll_s)

    async def _look(self) -> _Look:
        rows = await self._pool.fetch(_LOOK, self._topics, self._projections)
        partitions: dict[str, list[_Partition]] = {}
        relayed = 0
        for row in rows:
            relayed = row["relayed"]
            if row["published"] is not None:
                partitions.setdefault(row["projection"], []).append(_Partition(row["published"], row["projected"]))
        return _Look(relayed, partitions)
