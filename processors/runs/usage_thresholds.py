"""Usage that is invoiced while its period runs: what it has come to is looked at again and again, and billed once so
much of it is not.

A look changes nothing; what it finds is billed by a command under a key of what was seen, and the invoice closes its
periods as any other does. So it does not matter who looks how often, nor who dies between a look and its command: what
was not billed before its period was over is billed with the rest.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.customers.test_clock import TEST_CLOCK, TestClock
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.money import Money
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.usage_so_far import running_usage_line
from domain.subscriptions.usage_threshold import (
    WATCHED_ON_CLOCK,
    WATCHED_SEPARATOR,
    BillUsageSoFar,
    SoFar,
    reached,
)
from infra.database import Pool
from infra.event_store.port import Log, Work, Writer
from infra.settings import Settings
from processors.issue import Cause, issue
from processors.outcome import AskAgain, Unwanted, WorkOutcome
from processors.states import StateReader
from usage.live import Metered, charge_so_far
from usage.partials import counted_up_to
from usage.watermarks import Ends, Watermarks
from usage.wire import partition_of_customer

ACTOR: Final = "usage-threshold"
LOOKED_AT_ONCE_MAX: Final = 500
"""How many subscriptions of a clock are found by one query."""


class UsageThresholds:
    """Runs SUBSCRIPTION_USAGE. The pool's role reads usage."""

    def __init__(
        self, writer: Writer, states: StateReader, log: Log, pool: Pool, ends: Ends, settings: Settings
    ) -> None:
        self._writer = writer
        self._states = states
        self._log = log
        self._pool = pool
        self._watermarks = Watermarks(ends)
        self._partitions = settings.usage.partitions
        self._look_interval_ms = int(settings.processors.usage_look_interval_s * 1_000)

    async def look(self, work: Work) -> WorkOutcome:
        """Bill what has reached the threshold of a subscription, for as long as it has one."""
        subscription = await self._states.read(SUBSCRIPTION, work.tenant_id, work.subject)
        is_over = subscription is None or subscription.status is SubscriptionStatus.CANCELED
        if subscription is None or is_over or subscription.terms.usage_threshold is None:
            return Unwanted()
        await self._bill(work, subscription, await self._now(work, subscription))
        return AskAgain(self._look_interval_ms, "usage is looked at again", untouched=True)

    async def is_settled(self, work: Work, clock: TestClock) -> bool:
        """Whether everything is counted that the brokers had of the clock's subscriptions with thresholds, and what has
        reached one at the clock's time is billed. Runs before a test clock moves on: what is sent before that is billed
        before that.
        """
        prefix, after = f"{clock.clock_id}{WATCHED_SEPARATOR}", ""
        while True:
            found = await self._log.owners(
                work.tenant_id, WATCHED_ON_CLOCK, value_prefix=prefix, limit=LOOKED_AT_ONCE_MAX, after=after
            )
            for subscription_id in found:
                subscription = await self._states.read(SUBSCRIPTION, work.tenant_id, subscription_id)
                if subscription is None:
                    continue
                if not await self._is_counted(subscription, work.tenant_id, clock):
                    return False
                if await self._bill(work, subscription, clock.frozen_at):
                    return False
            if len(found) < LOOKED_AT_ONCE_MAX:
                return True
            after = found[-1]

    async def _is_counted(self, subscription: Subscription, tenant_id: str, clock: TestClock) -> bool:
        """Whether the aggregator has come to where the customer's partition ended when it was to move on."""
        partition = partition_of_customer(tenant_id, subscription.customer_id, self._partitions)
        place = clock.clock_id, clock.advances, clock.frozen_at, partition
        watermark = await self._watermarks.of(place, partition)
        async with self._pool.acquire() as connection:
            return await counted_up_to(connection, partition) >= watermark

    async def _bill(self, work: Work, subscription: Subscription, at: datetime) -> bool:
        """Whether something was to be billed, and now is, as far as it still is as it was seen."""
        command = await self._reached(work.tenant_id, subscription, at)
        if command is None:
            return False
        named = subscription.subscription_id
        seen = f"{command.period_index}:{command.changes}:{command.billings_so_far}"
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
        outcome = await issue(self._writer, command, key=f"usage-so-far:{named}:{seen}", cause=cause, actor=ACTOR)
        return outcome.refusal_code is None

    async def _now(self, work: Work, subscription: Subscription) -> datetime:
        """The subscription's own time."""
        clock_id = subscription.test_clock_id
        if clock_id is not None:
            clock = await self._states.read(TEST_CLOCK, work.tenant_id, clock_id)
            assert clock is not None, "a subscription lives on it"
            return clock.frozen_at
        assert work.claimed_at is not None, "a run is of claimed work"
        return work.claimed_at

    async def _reached(self, tenant_id: str, subscription: Subscription, at: datetime) -> BillUsageSoFar | None:
        boundary = subscription.next_boundary
        if boundary is not None and boundary <= at:
            return None
        return reached(subscription, await self._so_far(tenant_id, subscription, at))

    async def _so_far(self, tenant_id: str, subscription: Subscription, at: datetime) -> Sequence[SoFar]:
        """Of each metered item; of none as long as what was billed last is not known."""
        found: list[SoFar] = []
        partition = partition_of_customer(tenant_id, subscription.customer_id, self._partitions)
        for item in subscription.terms.items:
            line = None if item.meter_id is None else running_usage_line(subscription, item.meter_id)
            if line is None or item.meter_id is None or line.period_start is None or line.period_start >= at:
                continue
            billed = await self._charged_last(tenant_id, line)
            if billed is None:
                return ()
            metered = Metered(tenant_id, subscription.customer_id, item.meter_id)
            async with self._pool.acquire() as connection:
                charge = await charge_so_far(connection, line, metered, partition=partition, at=at)
            progress = None if line.usage is None else line.usage.progress
            times_billed = 0 if progress is None else len(progress.before)
            found.append(SoFar(item.price_id, charge - billed, times_billed))
        return found

    async def _charged_last(self, tenant_id: str, line: InvoiceLine) -> Money | None:
        """What the period had come to when it was billed last, be that voided since: what was is billed when the period
        is over. None where that invoice is not counted.
        """
        progress = None if line.usage is None else line.usage.progress
        if progress is None or not progress.before:
            return Money.zero(line.amount.currency)
        last = progress.before[-1]
        invoice = await self._states.read(INVOICE, tenant_id, last.invoice_id)
        billed = (
            None if invoice is None else next((each for each in invoice.lines if each.line_id == last.line_id), None)
        )
        if billed is None or billed.usage is None or billed.usage.progress is None:
            return None
        return billed.usage.progress.charge
