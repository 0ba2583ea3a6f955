"""Deletes test clocks: ends their subscriptions, then their customers, and waits for what a gateway was asked to do.

From the commit that began the deletion nothing new begins on the clock, so what is found here only gets less: its
subscriptions by their timers, its customers by their claims. Both go in the commit that ends them, so a run that dies
is simply run again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from domain.customers.customer import ON_CLOCK, ON_CLOCK_SEPARATOR, DeleteCustomer
from domain.customers.test_clock import TEST_CLOCK, CompleteTestClockDeletion
from domain.invoicing.finalization import VoidInvoice
from domain.kernel.stream import Command, WorkKind
from domain.subscriptions.cancel_commands import EndWithTestClock
from infra.event_store.port import DueWorkQueue, Log, Work, Writer
from infra.settings import ProcessorSettings
from processors.issue import Cause, issue, issue_for_work
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.states import StateReader

ACTOR: Final = "test-clock"

# How the subject of each kind of timer that runs on test clocks ends with its clock, and what waits for usage or tax.
ENDS: Final[Mapping[WorkKind, Callable[[str], Command]]] = {
    WorkKind.SUBSCRIPTION_RENEWAL: lambda subject: EndWithTestClock(subscription_id=subject),
    WorkKind.INVOICE_FINALIZATION: lambda subject: VoidInvoice(invoice_id=subject, ends_with_clock=True),
    WorkKind.INVOICE_USAGE: lambda subject: VoidInvoice(invoice_id=subject, ends_with_clock=True),
    WorkKind.INVOICE_TAX: lambda subject: VoidInvoice(invoice_id=subject, ends_with_clock=True),
}


class ClockDeletions:
    """Runs CLOCK_DELETION."""

    def __init__(
        self, writer: Writer, states: StateReader, queue: DueWorkQueue, log: Log, settings: ProcessorSettings
    ) -> None:
        self._writer = writer
        self._states = states
        self._queue = queue
        self._log = log
        self._settings = settings

    async def delete(self, work: Work) -> WorkOutcome:
        """Bring a deletion some way, up to a slice of time; the rest is asked for again."""
        clock_id = work.subject
        ends_at = time.monotonic() + self._settings.clock_slice_ms / 1000
        came_on = 0
        while time.monotonic() < ends_at:
            clock = await self._states.read(TEST_CLOCK, work.tenant_id, clock_id)
            if clock is None or clock.deleted_at is not None:
                return Unwanted()
            left = await self._next(work)
            if left:
                if await self._end(work, left, came_on):
                    came_on += 1
                    continue
            elif not await self._queue.outstanding(work.tenant_id, clock_id):
                complete = CompleteTestClockDeletion(clock_id=clock_id)
                return await issue_for_work(self._writer, complete, work, key=f"clock:{clock_id}:deleted", actor=ACTOR)
            await asyncio.sleep(self._settings.clock_settle_poll_ms / 1000)
        return AskAgain(0, "deleting")

    async def _next(self, work: Work) -> dict[str, Command]:
        """What ends some of what is left, by what it ends."""
        limit = self._settings.clock_batch_rows
        timers = await self._queue.timers(
            work.tenant_id, work.subject, limit=limit, also=(WorkKind.INVOICE_USAGE, WorkKind.INVOICE_TAX)
        )
        if timers:
            return {timer.subject: ENDS[timer.kind](timer.subject) for timer in timers}
        place = f"{work.subject}{ON_CLOCK_SEPARATOR}"
        customers = await self._log.owners(work.tenant_id, ON_CLOCK, value_prefix=place, limit=limit)
        return {
            customer_id: DeleteCustomer(customer_id=customer_id, leaves_unsettled=True) for customer_id in customers
        }

    async def _end(self, work: Work, commands: Mapping[str, Command], came_on: int) -> bool:
        """Whether any of it came on. What was refused is asked for anew once something did: an invoice of which another
        one gives something back ends behind that.
        """
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
        key = f"clock:{work.subject}:end:{work.attempts}:{came_on}"
        outcomes = await asyncio.gather(
            *(
                issue(self._writer, command, key=f"{key}:{subject}", cause=cause, actor=ACTOR)
                for subject, command in commands.items()
            )
        )
        return any(outcome.refusal_code is None and not outcome.replayed for outcome in outcomes)
