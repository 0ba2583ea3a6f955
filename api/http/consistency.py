"""Reading one's own writes: a query that names a position waits until what it reads has come that far."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from api.http import metrics
from api.http.problems import INVALID_HEADER, POSITION_NOT_REACHED, Problem, retry_after
from api.http.wire_positions import parse_position
from infra.database import CONNECTION_ERRORS, Pool
from projections.reached import Reached, reached
from projections.read_model import Projection


class _Waiter(NamedTuple):
    projections: tuple[Projection, ...]
    position: int
    reached: asyncio.Future[None]


class Positions:
    """How far the read models have come. While anybody waits, one task asks the database for all of them."""

    def __init__(self, pool: Pool, *, topic_prefix: str, poll_ms: int) -> None:
        self._pool = pool
        self._topic_prefix = topic_prefix
        self._poll_s = poll_ms / 1000
        self._reached: dict[Projection, int] = dict.fromkeys(Projection, 0)
        self._waiters: list[_Waiter] = []
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, projections: tuple[Projection, ...], position: int, *, timeout_s: float) -> None:
        """Return once all of them hold everything up to the position. Raises TimeoutError."""
        if self._have(projections, position):
            return
        waiter = _Waiter(projections, position, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        async with asyncio.timeout(timeout_s):
            await waiter.reached

    async def reached(self) -> dict[Projection, Reached]:
        """Ask now."""
        found = await reached(self._pool, self._topic_prefix)
        self._reached = {projection: place.position for projection, place in found.items()}
        return found

    def _have(self, projections: Iterable[Projection], position: int) -> bool:
        return all(self._reached[projection] >= position for projection in projections)

    async def _poll(self) -> None:
        while self._waiters:
            with suppress(*CONNECTION_ERRORS):
                await self.reached()
            waiting: list[_Waiter] = []
            for waiter in self._waiters:
                if waiter.reached.done():
                    continue
                if self._have(waiter.projections, waiter.position):
                    waiter.reached.set_result(None)
                else:
                    waiting.append(waiter)
            self._waiters = waiting
            if waiting:
                await asyncio.sleep(self._poll_s)

    async def close(self) -> None:
        """Stop asking."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)


async def await_position(
    positions: Positions, headers: dict[bytes, bytes], projections: tuple[Projection, ...], *, timeout_s: float
) -> None:
    """Wait for Min-Ledger-Position, if it was sent; 503 if what is read has not come that far in time."""
    sent = headers.get(b"min-ledger-position")
    if sent is None:
        return
    try:
        position = parse_position(sent.decode("latin-1"))
    except PydanticCustomError as error:
        why = f"Min-Ledger-Position: {error.message()}"
        raise Problem(INVALID_HEADER, why, param="Min-Ledger-Position") from None
    if projections:
        await await_reached(positions, projections, position, timeout_s=timeout_s)


async def await_reached(
    positions: Positions, projections: tuple[Projection, ...], position: int, *, timeout_s: float
) -> None:
    """Wait until what is read has come to the position; 503 if it has not in time."""
    try:
        await positions.wait(projections, position, timeout_s=timeout_s)
    except TimeoutError:
        metrics.POSITION_WAITS.labels("timed_out").inc()
        raise Problem(POSITION_NOT_REACHED, headers=retry_after(1)) from None
    metrics.POSITION_WAITS.labels("reached").inc()
