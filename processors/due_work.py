"""Runs due work: claims rows by lease, a bounded number of each kind at once, and settles what each run comes to.

A run that dies keeps its lease until it ends; then somebody else runs it again, which its idempotency keys and the
gateway's make harmless.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from domain.kernel.stream import WorkKind
from infra.database import CONNECTION_ERRORS
from infra.event_store.log import Listener, wait_for_growth
from infra.event_store.port import DueWorkQueue, IdempotencyKeyReused, QueueFull, StoreUnavailable, Work
from infra.settings import ProcessorSettings
from infra.telemetry import correlated
from processors.outcome import AskAgain, Hold, Settled, Unwanted, WorkOutcome

log = structlog.get_logger(__name__)

RUNS = Counter("tallybook_due_work_runs_total", "Runs of due work", ["kind", "result"])
ROWS = Gauge("tallybook_due_work_rows", "Due work by kind and state", ["kind", "state"])

Run = Callable[[Work], Awaitable[WorkOutcome]]

# Nobody's fault but the surroundings': such a run never counts towards being held.
_PASSING = (*CONNECTION_ERRORS, StoreUnavailable, QueueFull, KafkaError)


class DueWorkRunner:
    """One process's runner of real-time due work. `run` ends when `stop` is called and all runs have ended."""

    def __init__(self, queue: DueWorkQueue, runs: Mapping[WorkKind, Run], settings: ProcessorSettings) -> None:
        self._queue = queue
        self._runs = runs
        self._settings = settings
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{random.randbytes(4).hex()}"  # noqa: S311  a name
        self._under_way: dict[WorkKind, int] = dict.fromkeys(runs, 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._stopping = False
        self.last_look_failed: str | None = None

    @property
    def owner(self) -> str:
        """The name on this runner's leases."""
        return self._owner

    async def run(self, listener: Listener, grown: asyncio.Event) -> None:
        """Look for work whenever the log grows, something is freed, or the poll interval has passed."""
        settings = self._settings
        poll_s = settings.work_poll_interval_ms / 1000
        while not self._stopping:
            grown.clear()
            self._freed.clear()
            try:
                await listener.listen()
                claimed = await self._claim()
                self.last_look_failed = None
            except CONNECTION_ERRORS as error:
                self.last_look_failed = repr(error)
                await asyncio.sleep(poll_s)
                continue
            if claimed:
                continue
            await self._wait(grown, poll_s)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=settings.stop_batch_ms / 1000)

    def stop(self) -> None:
        """Claim no more."""
        self._stopping = True
        self._freed.set()

    async def _wait(self, grown: asyncio.Event, poll_s: float) -> None:
        freed = asyncio.create_task(self._freed.wait())
        try:
            grow = asyncio.create_task(wait_for_growth(grown, poll_s))
            await asyncio.wait({freed, grow}, return_when=asyncio.FIRST_COMPLETED)
            grow.cancel()
        finally:
            freed.cancel()
        # A commit seldom comes alone: let its neighbours arrive, and claim them together.
        await asyncio.sleep(self._settings.work_gather_ms / 1000)

    async def _claim(self) -> int:
        settings = self._settings
        free = {
            kind: min(settings.work_batch_rows, settings.work_concurrency - running)
            for kind, running in self._under_way.items()
        }
        if not any(limit > 0 for limit in free.values()):
            await self._freed.wait()
            return 1
        claimed = await self._queue.claim(free, owner=self._owner, lease_ms=settings.work_lease_ms)
        for work in claimed:
            self._under_way[work.kind] += 1
            task = asyncio.create_task(self._run_and_free(work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(claimed)

    async def _run_and_free(self, work: Work) -> None:
        try:
            await self.run_one(work)
        finally:
            self._under_way[work.kind] -= 1
            self._freed.set()

    async def run_one(self, work: Work) -> None:
        """Run claimed work and settle what comes of it. Raises nothing."""
        with correlated(work.correlation_id, causation_id=work.caused_by_event_id):
            try:
                outcome = await self._runs[work.kind](work)
            except _PASSING as error:
                outcome = AskAgain(None, f"{type(error).__name__}: {error}")
            except Exception as error:
                log.exception("due_work_failed", kind=work.kind, subject=work.subject, attempts=work.attempts)
                why = f"{type(error).__name__}: {error}"
                conflicting = isinstance(error, IdempotencyKeyReused)
                too_often = work.failures + 1 >= self._settings.work_failures_max
                outcome = Hold(why) if conflicting or too_often else AskAgain(None, why, failed=True)
            # A row that cannot be settled now keeps its lease, and is run again when it ends.
            with contextlib.suppress(*CONNECTION_ERRORS):
                await self._settle(work, outcome)

    async def _settle(self, work: Work, outcome: WorkOutcome) -> None:
        RUNS.labels(work.kind, type(outcome).__name__).inc()
        match outcome:
            case Settled():
                return
            case Unwanted():
                await self._queue.drop(work)
            case AskAgain(after_ms=pause_ms, why=why, failed=failed, untouched=untouched):
                pause = self._backoff_ms(work.attempts) if pause_ms is None else pause_ms
                await self._queue.retry_later(work, pause_ms=pause, error=why, failed=failed, untouched=untouched)
            case Hold(why=why):
                log.error("due_work_held", kind=work.kind, subject=work.subject, why=why)
                await self._queue.hold(work, error=why)

    def _backoff_ms(self, attempts: int) -> int:
        settings = self._settings
        grown = settings.work_backoff_ms * 2 ** min(attempts, 16)
        return int(min(grown, settings.work_backoff_max_ms) * random.uniform(0.5, 1))  # noqa: S311  jitter

    async def measure(self) -> None:
        """Bring the gauges up to date."""
        for count in await self._queue.counts():
            for state in ("waiting", "due", "leased", "held"):
                ROWS.labels(count.kind, state).set(getattr(count, state))
