"""Migrations of plans: finds the subscriptions that were sold the plan, moves those that are behind, takes back what a
canceled one has scheduled.

Who is on the plan, what is still to be moved and what is scheduled is found by claims, which are as new as the log. A
subscription is moved under a key of its own, so a run that dies is simply run again. One that is refused is counted,
and holds up no other; one that fails is tried again, with the others of its page, and held in the end for a person, who
may cancel the migration.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from domain.kernel.frozen import replace
from domain.kernel.stream import Command
from domain.subscriptions.migration import PENDING, PLAN_MIGRATION, SCHEDULED, SEPARATOR, MigrationStatus, PlanMigration
from domain.subscriptions.migration import PlanMigrationIsOver as IsOver
from domain.subscriptions.migration_commands import (
    EndPlanMigration,
    FindSubscriptions,
    MoveSubscription,
    RefuseMove,
    TakeBackMove,
)
from domain.subscriptions.subscription import ON_PLAN, ON_PLAN_SEPARATOR
from infra.event_store.port import Log, Outcome, Work, Writer
from processors.issue import Cause, issue
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.states import StateReader

ACTOR: Final = "plan-migration"
FOUND_AT_ONCE_MAX: Final = 100
"""How many subscriptions one decision looks at."""
MOVED_AT_ONCE_MAX: Final = 20
"""How many are moved side by side: they share commits, with whoever else writes."""
SLICE_S: Final = 2.0
"""After so long a run lets others have its place, and is asked for again."""

Step = Callable[[Work, str], Awaitable[None]]
"""What a run does with one subscription."""


class PlanMigrations:
    """Runs PLAN_MIGRATION."""

    def __init__(self, writer: Writer, states: StateReader, log: Log) -> None:
        self._writer = writer
        self._states = states
        self._log = log

    async def run(self, work: Work) -> WorkOutcome:
        """Bring a migration some way, up to a slice of time; the rest is asked for again."""
        ends_at = time.monotonic() + SLICE_S
        failed: dict[str, BaseException] = {}
        while time.monotonic() < ends_at:
            migration = await self._states.read(PLAN_MIGRATION, work.tenant_id, work.subject)
            match None if migration is None else migration.status:
                case MigrationStatus.RUNNING if migration is not None and not migration.is_found:
                    await self._find(work, migration)
                case MigrationStatus.RUNNING:
                    if not await self._each(work, PENDING, self._move, failed):
                        await self._end(work, MigrationStatus.RUNNING)
                case MigrationStatus.CANCELING:
                    if not await self._each(work, SCHEDULED, self._take_back, failed):
                        await self._end(work, MigrationStatus.CANCELING)
                case _:
                    return Unwanted()
        return AskAgain(0, "migrating")

    async def _find(self, work: Work, migration: PlanMigration) -> None:
        place = f"{migration.plan_id}{ON_PLAN_SEPARATOR}"
        candidates = await self._log.owners(
            work.tenant_id, ON_PLAN, value_prefix=place, limit=FOUND_AT_ONCE_MAX, after=migration.found_to
        )
        command = FindSubscriptions(
            migration_id=migration.migration_id,
            after=migration.found_to,
            candidates=tuple(candidates),
            is_last=len(candidates) < FOUND_AT_ONCE_MAX,
        )
        # Whoever looks again may find others: the first look counts, and the key is that of what was seen.
        seen = hashlib.sha256(" ".join(candidates).encode()).hexdigest()[:16]
        await self._issue(work, command, f"find:{migration.found_to}:{seen}")

    async def _each(self, work: Work, kind: str, do: Step, failed: dict[str, BaseException]) -> bool:
        """The next of those with which something is still to be done, which only gets less; whether there were any.

        What fails is passed over in this run. Raises its error where nothing else is left, or nothing at all comes on.
        """
        place = f"{work.subject}{SEPARATOR}"
        found = await self._log.owners(work.tenant_id, kind, value_prefix=place, limit=MOVED_AT_ONCE_MAX + len(failed))
        left = [each for each in found if each not in failed]
        outcomes = await asyncio.gather(*(do(work, each) for each in left), return_exceptions=True)
        errors = {each: error for each, error in zip(left, outcomes, strict=True) if error is not None}
        failed.update(errors)
        if failed and len(errors) == len(left):
            raise next(iter(failed.values()))
        return bool(left)

    async def _move(self, work: Work, subscription_id: str) -> None:
        command = MoveSubscription(migration_id=work.subject, subscription_id=subscription_id)
        outcome = await self._issue(work, command, f"move:{subscription_id}")
        if outcome.refusal_code not in (None, IsOver.code):
            refused = RefuseMove(
                migration_id=work.subject,
                subscription_id=subscription_id,
                code=outcome.refusal_code,
                detail=f"It was refused when it was recorded, with the code {outcome.refusal_code}",
            )
            await self._issue(work, refused, f"refuse:{subscription_id}")

    async def _take_back(self, work: Work, subscription_id: str) -> None:
        command = TakeBackMove(migration_id=work.subject, subscription_id=subscription_id)
        outcome = await self._issue(work, command, f"take-back:{subscription_id}")
        if outcome.refusal_code is not None:
            left = replace(command, leaves_it=True)
            await self._issue(work, left, f"leave:{subscription_id}")

    async def _end(self, work: Work, status: MigrationStatus) -> None:
        """It may end twice: once it has moved all, and again when it is canceled after that."""
        await self._issue(work, EndPlanMigration(migration_id=work.subject, status=status), f"end:{status}")

    async def _issue(self, work: Work, command: Command, step: str) -> Outcome:
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
        return await issue(self._writer, command, key=f"plan-migration:{work.subject}:{step}", cause=cause, actor=ACTOR)
