"""The meters whose usage a subscription bills: for a customer it is the only one, so that no event is billed twice."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.usage_line import UsageProgress, UsageSlice
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Free, Take
from domain.subscriptions.running import ItemBilledSoFar, MeterBilled
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import SubscriptionTerms
from domain.subscriptions.transfer import ScheduledTransfer

METER_CLAIM = "customer.meter"


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingInSlices:
    """A line of an item's period that several bill: of its usage so far, or with `is_last` of the rest."""

    price_id: str
    since: datetime
    line_id: str
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUsageBilled:
    """`invoice_id` bills what these meters counted, once that is closed; `slices` are its lines of periods that several
    bill.
    """

    subscription_id: str
    meter_ids: tuple[str, ...]
    invoice_id: str
    slices: tuple[BillingInSlices, ...] = ()


class MeterIsBilled(Refusal):
    """A subscription of the customer bills this meter already: end that, or take its price away there first."""

    code = "meter_billed_already"
    kind = RefusalKind.CONFLICT
    param = "items"


class MeterIsBilledThere(Refusal):
    """A subscription of the other customer bills this meter already: end that, or take its price away there first."""

    code = "meter_billed_by_other_customer"
    param = "customer"


def metered_after(known: tuple[MeterBilled, ...], terms: SubscriptionTerms) -> tuple[MeterBilled, ...]:
    """The meters that it bills or has billed, with those of these terms."""
    named = {each.meter_id for each in known}
    return (*known, *(MeterBilled(meter_id=each) for each in meters_of(terms) if each not in named))


def billed_after(known: tuple[MeterBilled, ...], event: SubscriptionUsageBilled) -> tuple[MeterBilled, ...]:
    return tuple(
        replace(each, invoice_id=event.invoice_id) if each.meter_id in event.meter_ids else each for each in known
    )


def after_billing(subscription: Subscription, event: SubscriptionUsageBilled) -> Subscription:
    """Once an invoice bills usage: of its periods, or so far of those that are not over."""
    billed = replace(subscription, metered=billed_after(subscription.metered, event))
    if not event.slices:
        return billed
    so_far = {(each.price_id, each.since): each.slices for each in subscription.billed_so_far}
    for each in event.slices:
        before = so_far.pop((each.price_id, each.since), ())
        if not each.is_last:
            billed_by = UsageSlice(invoice_id=event.invoice_id, line_id=each.line_id)
            so_far[each.price_id, each.since] = (*before, billed_by)
    billed = replace(
        billed,
        billed_so_far=tuple(
            ItemBilledSoFar(price_id=price_id, since=since, slices=slices)
            for (price_id, since), slices in so_far.items()
        ),
    )
    if all(each.is_last for each in event.slices):
        return billed
    return replace(billed, billings_so_far=billed.billings_so_far + 1, latest_invoice_id=event.invoice_id)


def meters_of(terms: SubscriptionTerms) -> tuple[str, ...]:
    """The meters of its items."""
    return tuple(item.meter_id for item in terms.items if item.meter_id is not None)


def claims_after(subscription: Subscription, *, is_taken_over: bool = False) -> tuple[Claim, ...]:
    """The meters of what it consists of, and is to consist of, are its own; those that it billed before are free. Where
    it is to be transferred, they are also those of the subscription that goes on then: nobody takes them meanwhile.
    """
    if not subscription.metered:
        return ()
    wanted: set[str] = set()
    if subscription.status is not SubscriptionStatus.CANCELED:
        wanted.update(meters_of(subscription.terms))
        if subscription.scheduled is not None:
            wanted.update(meters_of(subscription.scheduled.terms))
    own = ScheduledTransfer(customer_id=subscription.customer_id, subscription_id=subscription.subscription_id)
    found = _claims_of(own, subscription.metered, wanted, MeterIsBilledThere if is_taken_over else MeterIsBilled)
    heir = subscription.last_transfer
    if heir is not None:
        still: Collection[str] = wanted if subscription.transfer == heir else ()
        found += _claims_of(heir, subscription.metered, still, MeterIsBilledThere)
    return tuple(found)


def _claims_of(
    owner: ScheduledTransfer, metered: Iterable[MeterBilled], wanted: Collection[str], refusal: type[Refusal]
) -> list[Claim]:
    """All meters are given back, and those that are wanted taken again."""
    found: list[Claim] = []
    for each in metered:
        value = f"{owner.customer_id}:{each.meter_id}"
        found.append(Free(METER_CLAIM, value, owner.subscription_id))
        if each.meter_id in wanted:
            refused = partial(refusal, meter=each.meter_id, customer=owner.customer_id)
            found.append(Take(METER_CLAIM, value, owner.subscription_id, refused, tells_owner_as="subscription"))
    return found


def in_turn(
    owed: Iterable[tuple[Subscription, Sequence[InvoiceLine]]], invoice_id: str
) -> tuple[tuple[InvoiceLine, ...], list[SubscriptionUsageBilled]]:
    """The lines of each subscription, of which each that bills usage says what of that subscription bills the usage
    before it; and that this invoice bills it. Two of them may know one meter: a price of it went from one to the other.
    """
    placed: list[InvoiceLine] = []
    billed: list[SubscriptionUsageBilled] = []
    for subscription, lines in owed:
        in_place = [_in_place(line, subscription) for line in lines]
        placed += in_place
        usage = [line.usage for line in in_place if line.usage is not None]
        if usage:
            event = SubscriptionUsageBilled(
                subscription_id=subscription.subscription_id,
                meter_ids=tuple(dict.fromkeys(each.meter_id for each in usage)),
                invoice_id=invoice_id,
                slices=tuple(_slice_of(line, line.progress) for line in in_place if line.progress is not None),
            )
            billed.append(event)
    return tuple(placed), billed


def _in_place(line: InvoiceLine, subscription: Subscription) -> InvoiceLine:
    """A line of the subscription that says, if it bills usage, what bills the usage before it."""
    usage = line.usage
    if usage is None:
        return line
    before = next(each.invoice_id for each in subscription.metered if each.meter_id == usage.meter_id)
    return replace(line, usage=replace(usage, after_invoice_id=before, progress=progress_of(line, subscription)))


def progress_of(line: InvoiceLine, subscription: Subscription) -> UsageProgress | None:
    """What a line of usage says of those that billed its period before it; None where it bills all of that."""
    known = line.progress
    period = line.price_id, line.period_start
    before = next((each.slices for each in subscription.billed_so_far if (each.price_id, each.since) == period), ())
    if known is not None:
        return replace(known, before=before)
    return UsageProgress(before=before, is_last=True) if before else None


def _slice_of(line: InvoiceLine, progress: UsageProgress) -> BillingInSlices:
    assert line.price_id is not None, "a price is sold with a meter"
    assert line.period_start is not None, "usage is of a period"
    return BillingInSlices(
        price_id=line.price_id, since=line.period_start, line_id=line.line_id, is_last=progress.is_last
    )
