"""Advances test clocks: the earliest due instant first, everything due at it, what that caused, then the next.

Work due at one instant belongs to different subscriptions and runs side by side; the clock moves on only when nothing
that it caused is outstanding. An advance runs in slices, each a short lease, so a runner that dies is soon replaced.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from domain.customers.test_clock import TEST_CLOCK, CompleteTestClockAdvance, MoveTestClock, TestClock
from domain.kernel.stream import Command
from infra.event_store.port import DueWorkQueue, Work, Writer
from infra.settings import ProcessorSettings
from processors.due_work import DueWorkRunner
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.states import StateReader

ACTOR = "test-clock"

Settled = Callable[[Work, TestClock], Awaitable[bool]]
"""Whether a clock may move on, as far as what is found by looking is concerned; it does what is to be done for that."""


class TestClocks:
    """Runs CLOCK_ADVANCE."""

    __test__ = False  # its name starts like a test's

    def __init__(
        self,
        writer: Writer,
        states: StateReader,
        queue: DueWorkQueue,
        settings: ProcessorSettings,
        *,
        is_settled: Settled | None = None,
    ) -> None:
        self._writer = writer
        self._states = states
        self._queue = queue
        self._settings = settings
        self._is_settled = is_settled
        self._runner: DueWorkRunner | None = None

    def run_with(self, runner: DueWorkRunner) -> None:
        """The runner whose handlers the clock's work goes to."""
        self._runner = runner

    async def advance(self, work: Work) -> WorkOutcome:
        """Bring an advance some way, up to a slice of time; the rest is asked for again."""
        ends_at = time.monotonic() + self._settings.clock_slice_ms / 1000
        while time.monotonic() < ends_at:
            clock = await self._states.read(TEST_CLOCK, work.tenant_id, work.subject)
            if clock is None or clock.advancing_to is None:
                return Unwanted()
            if await self._step(work, clock, clock.advancing_to):
                continue
            await asyncio.sleep(self._settings.clock_settle_poll_ms / 1000)
        return AskAgain(0, "advancing")

    async def _step(self, work: Work, clock: TestClock, goal: datetime) -> bool:
        """Run what is due at the clock's time, or move it on; False if there is nothing to do but to wait."""
        due_at = await self._queue.earliest(work.tenant_id, clock.clock_id, not_after=goal)
        if due_at is not None and due_at <= clock.frozen_at:
            return await self._run_due(work, clock)
        if await self._queue.outstanding(work.tenant_id, clock.clock_id):
            return False
        to = goal if due_at is None else due_at
        # A step of an advance that was cancelled meanwhile has its answer for ever, so the next advance has other keys.
        advance = f"clock:{clock.clock_id}:{clock.advances}"
        if to > clock.frozen_at and not await self._may_move(work, clock):
            return False
        if to > clock.frozen_at:
            # Also to the goal, before it is reached for good: what was decided at an earlier time is in the log then,
            # its timers among the due ones, and what comes after has none that are due.
            move = MoveTestClock(clock_id=clock.clock_id, advance=clock.advances, to=to)
            await self._issue(work, move, f"{advance}:{to.isoformat()}:move")
        else:
            complete = CompleteTestClockAdvance(clock_id=clock.clock_id, advance=clock.advances)
            await self._issue(work, complete, f"{advance}:complete")
        return True

    async def _may_move(self, work: Work, clock: TestClock) -> bool:
        """Whether looking finds nothing more to do; what others found meanwhile is outstanding by then."""
        if self._is_settled is None:
            return True
        if not await self._is_settled(work, clock):
            return False
        return not await self._queue.outstanding(work.tenant_id, clock.clock_id)

    async def _run_due(self, work: Work, clock: TestClock) -> bool:
        assert self._runner is not None, "run_with is called when the parts are put together"
        claimed = await self._queue.claim_for_clock(
            work.tenant_id,
            clock.clock_id,
            at=clock.frozen_at,
            owner=self._runner.owner,
            lease_ms=self._settings.work_lease_ms,
            limit=self._settings.clock_batch_rows,
        )
        await asyncio.gather(*(self._runner.run_one(due) for due in claimed))
        return bool(claimed)

    async def _issue(self, work: Work, command: Command, key: str) -> None:
        await issue_for_work(self._writer, command, work, key=key, actor=ACTOR)
