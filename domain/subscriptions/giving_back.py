"""What a pause or an end gives back of what was paid, where it is to: the unused part of each charge."""

from datetime import datetime

from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.kernel.billing_period import Period
from domain.kernel.frozen import replace
from domain.kernel.identifiers import INVOICE_LINE, derived_id
from domain.kernel.stream import Streams
from domain.subscriptions.charges import Charge, charges_of
from domain.subscriptions.periods import running_period, service_period
from domain.subscriptions.proration import (
    ChangeTiming,
    ProrationLine,
    ProrationPolicy,
    cancellation_credit,
    pause_credit,
)
from domain.subscriptions.proration_basis import ServicePeriod
from domain.subscriptions.state import Subscription
from domain.subscriptions.terms import SubscriptionItem


def unused(subscription: Subscription, at: datetime, streams: Streams, *, ends: bool) -> tuple[InvoiceLine, ...]:
    """Credits for what is unused at that time of what paid the running periods in advance; with `ends` it is the end of
    all, whose day one basis bills.
    """
    policy = policy_of(subscription)
    credit_of = cancellation_credit if ends else pause_credit
    lines: list[InvoiceLine] = []
    for item in subscription.terms.items:
        running = running_period(subscription, item.interval)
        if item.timing is not BillingTiming.IN_ADVANCE or running is None or not running.contains(at):
            continue
        charges = {each.line.line_id: each for each in charges_of(subscription, item, streams)}
        paid = [each.paid for each in charges.values()]
        for line in credit_of(paid, at, service_of(subscription, item, running), policy):
            assert line.gives_back is not None, "a credit names its charge"
            lines += credit_line(line, charges[str(line.gives_back.line_id)], subscription)
    return tuple(lines)


def policy_of(subscription: Subscription) -> ProrationPolicy:
    """How parts of its periods are counted and rounded."""
    return ProrationPolicy(
        basis=subscription.terms.proration_basis,
        timing=ChangeTiming.NOW_NEXT_INVOICE,
        rounding=subscription.terms.rounding,
    )


def service_of(subscription: Subscription, item: SubscriptionItem, running: Period) -> ServicePeriod:
    """The whole period of an item, between the instants that were written down when it began."""
    service = service_period(subscription, item.interval, subscription.period_index)
    return replace(service, period=Period(min(service.period.start, running.start), running.end))


def credit_line(line: ProrationLine, charge: Charge, subscription: Subscription) -> list[InvoiceLine]:
    """The credit as a line; none where it comes to nothing. Its id is the same whenever the same is decided again."""
    billed = charge.line
    if line.amount.is_zero or billed.pricing is None:
        return []
    name = f"change/{subscription.changes}/credit/{billed.line_id}"
    credited = replace(
        billed,
        line_id=derived_id(INVOICE_LINE, subscription.subscription_id, name),
        amount=line.amount,
        kind=InvoiceLineKind.CREDIT,
        period_start=line.period.start,
        period_end=line.period.end,
        pricing=replace(billed.pricing, share=line.share),
        discounts=(),
        tax=None,
        gives_back=charge.gives_back,
    )
    return [credited]
