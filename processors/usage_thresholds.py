"""Usage that is invoiced while its period runs: what it has come to is billed once so much of it is not.

Whoever looks at what was counted (`processors.usage_alerts.watch`) asks here, and a test clock before it moves on. A
look changes nothing; what it finds is billed by a command that names what was seen, so that of two who saw the same one
bills it, and the invoice closes its periods as any other does. So it does not matter who looks how often, nor who dies
between a look and its command: what was not billed before its period was over is billed with the rest.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from math import ceil
from time import monotonic
from typing import Final, NamedTuple

from domain.customers.test_clock import TEST_CLOCK, TestClock
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import InvoiceStatus
from domain.kernel.money import Money
from domain.subscriptions.metering import meters_of
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.usage_so_far import running_usage_line
from domain.subscriptions.usage_threshold import (
    WATCHED_ON_CLOCK,
    WATCHED_SEPARATOR,
    BillUsageSoFar,
    SoFar,
    is_watched,
    reached,
    still_watched,
)
from infra.database import Pool
from infra.event_store.port import Log, Work, Writer
from infra.ids import new_id
from infra.settings import Settings
from processors.issue import Cause, issue
from processors.states import StateReader
from usage.live import Metered, charge_so_far, going_on
from usage.looks import LEVEL_LOOK_MS
from usage.partials import counted_up_to
from usage.watermarks import Ends, Watermarks
from usage.wire import partition_of_customer

ACTOR: Final = "usage-threshold"
WAITING_LOOK_MS: Final = 1_000
"""How soon it is looked again whether an invoice of usage so far is counted, before which none follows it."""
LOOKED_AT_ONCE_MAX: Final = 500
"""How many subscriptions of a clock are found by one query."""
PACED_MAX: Final = 100_000
"""Subscriptions of which it is remembered when they were looked at."""


class Again(NamedTuple):
    """After how long (ms) a subscription is to be looked at again, be nothing more counted by then: by looks at these
    meters, or by the same one where they are None.
    """

    after_ms: int
    meter_ids: Collection[str] | None = None


class _Seen(NamedTuple):
    """What a look finds: what is to be billed, or else that it `waits` for an invoice to be counted; and the meters
    that are `growing` with time alone.
    """

    command: BillUsageSoFar | None = None
    waits: bool = False
    growing: Collection[str] = ()


NOTHING: Final = _Seen()


class _ChargedLast(NamedTuple):
    """What a period had come to when it was billed last, be that voided since: what was is billed by the next line. So
    many lines behind that were `voided` before they were counted, and billed nothing.
    """

    charge: Money
    voided: int


def watched(subscriptions: Iterable[Subscription], meter_id: str) -> list[str]:
    """Those of a customer's subscriptions that a meter may bring to their thresholds."""
    return [each.subscription_id for each in subscriptions if is_watched(each) and meter_id in meters_of(each.terms)]


class UsageThresholds:
    """Looks at subscriptions. The pool's role is the writer's, which reads usage."""

    def __init__(
        self, writer: Writer, states: StateReader, log: Log, pool: Pool, ends: Ends, settings: Settings
    ) -> None:
        self._writer = writer
        self._states = states
        self._log = log
        self._pool = pool
        self._watermarks = Watermarks(ends)
        self._partitions = settings.usage.partitions
        self._pause_s = settings.processors.usage_look_interval_s
        self._looked_at: dict[str, float] = {}

    async def look(self, tenant_id: str, subscription_id: str, now: datetime) -> Again | None:
        """Bill what has reached the threshold of a subscription, `now` in real time. When it is to be looked at again;
        None: once more is counted, or its test clock moves on, which looks itself.
        """
        pause_ms = self._pause_ms(subscription_id)
        if pause_ms:
            return Again(pause_ms)
        subscription = await self._states.read(SUBSCRIPTION, tenant_id, subscription_id)
        if subscription is None:
            return None
        seen = await self._seen(tenant_id, subscription, await self._now(tenant_id, subscription, now))
        if seen.waits:
            return Again(WAITING_LOOK_MS)
        if seen is NOTHING:
            return None
        self._remember(subscription_id)
        if seen.command is not None:
            cause = Cause(tenant_id=tenant_id, correlation_id=new_id("corr_"), causation_id=None)
            await self._bill(seen.command, cause)
        grows = seen.growing and subscription.test_clock_id is None
        return Again(LEVEL_LOOK_MS, seen.growing) if grows else None

    async def is_settled(self, work: Work, clock: TestClock) -> bool:
        """Whether everything is counted that the brokers had of the clock's subscriptions with thresholds, and what has
        reached one at the clock's time is billed. Runs before a test clock moves on: what is sent before that is billed
        before that.
        """
        prefix, after = f"{clock.clock_id}{WATCHED_SEPARATOR}", ""
        cause = Cause(
            tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id
        )
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
                seen = await self._seen(work.tenant_id, subscription, clock.frozen_at)
                if seen.command is not None and await self._bill(seen.command, cause):
                    return False
            if len(found) < LOOKED_AT_ONCE_MAX:
                return True
            after = found[-1]

    def _pause_ms(self, subscription_id: str) -> int:
        """For how long (ms) a subscription is left alone yet, as this process has just counted what it uses."""
        looked_at = self._looked_at.get(subscription_id)
        return 0 if looked_at is None else max(0, ceil((looked_at + self._pause_s - monotonic()) * 1_000))

    def _remember(self, subscription_id: str) -> None:
        if len(self._looked_at) >= PACED_MAX:
            self._looked_at.clear()
        self._looked_at[subscription_id] = monotonic()

    async def _is_counted(self, subscription: Subscription, tenant_id: str, clock: TestClock) -> bool:
        """Whether the aggregator has come to where the customer's partition ended when it was to move on."""
        partition = partition_of_customer(tenant_id, subscription.customer_id, self._partitions)
        place = clock.clock_id, clock.advances, clock.frozen_at, partition
        watermark = await self._watermarks.of(place, partition)
        async with self._pool.acquire() as connection:
            return await counted_up_to(connection, partition) >= watermark

    async def _bill(self, command: BillUsageSoFar, cause: Cause) -> bool:
        """Whether it was still as it was seen. Under a key of its own, as each look is another question: an answer to
        one may be that a threshold was just taken away, which is set again by the next.
        """
        outcome = await issue(self._writer, command, key=f"{ACTOR}:{new_id('look_')}", cause=cause, actor=ACTOR)
        return outcome.refusal_code is None

    async def _now(self, tenant_id: str, subscription: Subscription, now: datetime) -> datetime:
        """The subscription's own time."""
        if subscription.test_clock_id is None:
            return now
        clock = await self._states.read(TEST_CLOCK, tenant_id, subscription.test_clock_id)
        assert clock is not None, "a subscription lives on it"
        return clock.frozen_at

    async def _seen(self, tenant_id: str, subscription: Subscription, at: datetime) -> _Seen:
        """At its own time. What begins at a boundary that is due is looked at once it has begun."""
        boundary = subscription.next_boundary
        if not is_watched(subscription) or (boundary is not None and boundary <= at):
            return NOTHING
        running = _running(subscription, at)
        so_far = await self._so_far(tenant_id, subscription, running, at)
        if so_far is None:
            return _Seen(waits=True)
        left = {each.price_id for each in still_watched(subscription, so_far)}
        meter_ids = [line.usage.meter_id for line in running if line.usage is not None and line.price_id in left]
        async with self._pool.acquire() as connection:
            growing = await going_on(connection, tenant_id, subscription.customer_id, meter_ids, at)
        return _Seen(reached(subscription, so_far), growing=growing)

    async def _so_far(
        self, tenant_id: str, subscription: Subscription, running: Sequence[InvoiceLine], at: datetime
    ) -> Sequence[SoFar] | None:
        """Of each metered item; None as long as what was billed last is not known."""
        billed = [await self._charged_last(tenant_id, line) for line in running]
        found: list[SoFar] = []
        partition = partition_of_customer(tenant_id, subscription.customer_id, self._partitions)
        for line, last in zip(running, billed, strict=True):
            if last is None:
                return None
            assert line.price_id is not None, "a price bills it"
            assert line.usage is not None, "it bills usage"
            metered = Metered(tenant_id, subscription.customer_id, line.usage.meter_id)
            async with self._pool.acquire() as connection:
                charge = await charge_so_far(connection, line, metered, partition=partition, at=at)
            times = 0 if line.progress is None else len(line.progress.before)
            found.append(SoFar(line.price_id, charge - last.charge, times - last.voided, last.voided))
        return found

    async def _charged_last(self, tenant_id: str, line: InvoiceLine) -> _ChargedLast | None:
        """None while an invoice of the period waits for its usage."""
        voided = 0
        for before in reversed(() if line.progress is None else line.progress.before):
            invoice = await self._states.read(INVOICE, tenant_id, before.invoice_id)
            assert invoice is not None, "it came with what names it"
            billed = next(each for each in invoice.lines if each.line_id == before.line_id)
            charge = None if billed.progress is None else billed.progress.charge
            if charge is not None:
                return _ChargedLast(charge, voided)
            if invoice.status is not InvoiceStatus.VOID:
                return None
            voided += 1
        return _ChargedLast(Money.zero(line.amount.currency), voided)


def _running(subscription: Subscription, at: datetime) -> list[InvoiceLine]:
    """The lines that are to bill usage of the running periods that have begun."""
    found = (running_usage_line(subscription, meter_id) for meter_id in meters_of(subscription.terms))
    return [line for line in found if line is not None and line.period_start is not None and line.period_start < at]
