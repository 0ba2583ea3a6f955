"""Watches thresholds of usage in each process: gathers what was counted, looks at it, and lets the log tell, and bills
what is to be billed before its period is over.

A look goes only once what it found is in the log, and what the log was told once it is not told again. So a process
may die anywhere, several may look at the same, and what was counted while none ran is found by the first that does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from time import monotonic
from typing import Final, cast

import structlog
from prometheus_client import Counter

from domain.kernel.stream import Command
from infra.database import CONNECTION_ERRORS, Connection, Pool
from infra.event_store.port import QueueFull, StoreUnavailable, Writer
from infra.ids import new_id
from infra.settings import ProcessorSettings
from infra.telemetry import PartHealth
from processors.issue import Cause, issue
from processors.usage_alerts.looking import Found, look_at, scene_of
from processors.usage_thresholds import Again, UsageThresholds
from projections.reached import reached
from projections.read_model import Projection
from usage.looks import TOUCHED_AT_ONCE, Look, claim, done, gather, later
from usage.taken_back import TakenBack

log = structlog.get_logger(__name__)

LOOKS = Counter("tallybook_usage_looks_total", "Looks at customers' meters whether a threshold is reached.")
FAILED = Counter("tallybook_usage_looks_failed_total", "Looks that failed, and are tried again.")

ACTOR: Final = "usage-alerts"
PART: Final = "usage_alerts"
LOOKS_AT_ONCE: Final = 200
THRESHOLDS_AT_ONCE: Final = 4
"""Subscriptions whose usage is looked at side by side: each takes a connection."""
FAILED_LOOK_MS: Final = 5_000
TOLD_S: Final = 15.0
"""For how long health tells of a failure: longer than until the next try."""
FOLDED_WAIT_S: Final = 10.0
"""How long is waited until the read models have what the log had; then it is looked again later."""
FOLDED_POLL_S: Final = 0.02

_PASSING: Final = (*CONNECTION_ERRORS, StoreUnavailable, QueueFull)
_SEE: Final = "SELECT set_config('tallybook.tenant', $1, true), set_config('tallybook.customer', '', true)"


class UsageAlertWatch:
    """`pool` is the writer's, `reading` the reader's."""

    def __init__(
        self,
        writer: Writer,
        pool: Pool,
        reading: Pool,
        thresholds: UsageThresholds,
        taken_back: TakenBack,
        settings: ProcessorSettings,
        *,
        topic_prefix: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._writer = writer
        self._pool = pool
        self._reading = reading
        self._thresholds = thresholds
        self._taken_back = taken_back
        self._settings = settings
        self._topic_prefix = topic_prefix
        self._clock = clock
        self._problem = ""
        self._problem_at = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            is_more = False
            try:
                is_more = await self.look()
            except Exception as error:
                self._failed(error)
            if not is_more:
                await asyncio.sleep(self._settings.usage_look_interval_ms / 1000)

    async def look(self) -> bool:
        """Gather, and look at what is due. Whether there may be more at once."""
        async with self._pool.acquire() as connection:
            gathered = await gather(connection)
            looks = await claim(connection, limit=LOOKS_AT_ONCE, lease_ms=self._settings.work_lease_ms)
        if looks and await self._is_folded():
            looks.sort()
            for tenant_id, of_tenant in groupby(looks, key=lambda look: look.tenant_id):
                await self._look_at(tenant_id, list(of_tenant))
        elif looks:
            await self._later(looks, after_ms=0)
        return gathered == TOUCHED_AT_ONCE or len(looks) == LOOKS_AT_ONCE

    async def _look_at(self, tenant_id: str, looks: Sequence[Look]) -> None:
        """What fails is looked at again, and holds up nobody else's: then each is looked at by itself."""
        try:
            found = await self._find(tenant_id, looks)
        except Exception as error:
            self._failed(error)
            if len(looks) == 1 or isinstance(error, _PASSING):
                await self._later(looks, after_ms=FAILED_LOOK_MS)
            else:
                for look in looks:
                    await self._look_at(tenant_id, [look])
            return
        billed = await self._billed(tenant_id, {each for one in found for each in one.subscriptions})
        over: list[Look] = []
        again: dict[Look, int] = {}
        for look, each in zip(looks, found, strict=True):
            LOOKS.inc()
            try:
                for command in each.commands:
                    await self._issue(tenant_id, command)
            except Exception as error:
                self._failed(error)
                again[look] = FAILED_LOOK_MS
                continue
            after_ms = _again_ms(look, each, billed)
            if after_ms is None:
                over.append(look)
            else:
                again[look._replace(first_bucket=each.bucket)] = after_ms
        async with self._pool.acquire() as connection:
            await done(connection, over)
            await later(connection, again)

    async def _billed(self, tenant_id: str, subscription_ids: Iterable[str]) -> Mapping[str, Again | None]:
        """Bill what has reached the thresholds of these subscriptions; when each is to be looked at again. What fails
        holds up nobody else's.
        """
        free, now = asyncio.Semaphore(THRESHOLDS_AT_ONCE), self._clock()

        async def look(subscription_id: str) -> tuple[str, Again | None]:
            async with free:
                try:
                    return subscription_id, await self._thresholds.look(tenant_id, subscription_id, now)
                except Exception as error:
                    self._failed(error)
                    return subscription_id, Again(FAILED_LOOK_MS)

        return dict(await asyncio.gather(*map(look, subscription_ids)))

    async def _find(self, tenant_id: str, looks: Sequence[Look]) -> list[Found]:
        async with self._seeing(tenant_id) as connection:
            scene = await scene_of(connection, tenant_id, looks, self._taken_back, self._clock())
            return [await look_at(scene, look) for look in looks]

    def _failed(self, error: Exception) -> None:
        FAILED.inc()
        self._problem, self._problem_at = f"{type(error).__name__}: {error}", monotonic()
        if not isinstance(error, _PASSING):
            log.exception("usage_look_failed")

    async def _issue(self, tenant_id: str, command: Command) -> None:
        """Under a key of its own: what was told of is in the log, and two that tell the same are decided in order."""
        cause = Cause(tenant_id=tenant_id, correlation_id=new_id("corr_"), causation_id=None)
        await issue(self._writer, command, key=f"{ACTOR}:{new_id('look_')}", cause=cause, actor=ACTOR)

    async def _later(self, looks: Sequence[Look], *, after_ms: int) -> None:
        async with self._pool.acquire() as connection:
            await later(connection, dict.fromkeys(looks, after_ms))

    async def _is_folded(self) -> bool:
        """Wait until the read models have all that the log has: alerts and subscriptions that are there are looked at.

        What the log gets from then on asks for looks of its own.
        """
        head = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FOLDED_WAIT_S):
                while True:
                    place = (await reached(self._pool, self._topic_prefix))[Projection.BILLING]
                    head = place.head if head is None else head
                    if place.position >= head:
                        return True
                    await asyncio.sleep(FOLDED_POLL_S)
        return False

    @contextlib.asynccontextmanager
    async def _seeing(self, tenant_id: str) -> AsyncIterator[Connection]:
        """A snapshot of one tenant's rows."""
        async with (
            self._reading.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(_SEE, tenant_id)
            yield cast("Connection", connection)

    def health(self) -> PartHealth:
        """Whether thresholds are watched: nothing has failed of late."""
        is_over = monotonic() - self._problem_at > TOLD_S
        return PartHealth(name=PART, ok=not self._problem or is_over, detail="" if is_over else self._problem)


def _again_ms(look: Look, found: Found, billed: Mapping[str, Again | None]) -> int | None:
    """How soon to look again though nothing more is counted, for whoever wants it first."""
    pauses = [] if found.again_ms is None else [found.again_ms]
    pauses += [
        each.after_ms
        for each in map(billed.__getitem__, found.subscriptions)
        if each is not None and (each.meter_ids is None or look.meter_id in each.meter_ids)
    ]
    return min(pauses, default=None)
