"""The meters whose usage a subscription bills: for a customer it is the only one, so that no event is billed twice."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Free, Take
from domain.subscriptions.running import MeterBilled
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import SubscriptionTerms
from domain.subscriptions.transfer import ScheduledTransfer

METER_CLAIM = "customer.meter"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionUsageBilled:
    """`invoice_id` bills what these meters counted, once that is closed."""

    subscription_id: str
    meter_ids: tuple[str, ...]
    invoice_id: str


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
    lines: Iterable[InvoiceLine], subscriptions: Sequence[Subscription], invoice_id: str
) -> tuple[tuple[InvoiceLine, ...], list[SubscriptionUsageBilled]]:
    """The lines, of which each that bills usage says what bills the usage before it; and that this invoice bills it."""
    billed_before = {
        each.meter_id: (subscription.subscription_id, each.invoice_id)
        for subscription in subscriptions
        for each in subscription.metered
    }
    placed: list[InvoiceLine] = []
    billed: dict[str, dict[str, None]] = {}
    for line in lines:
        usage = line.usage
        if usage is None:
            placed.append(line)
            continue
        subscription_id, before = billed_before[usage.meter_id]
        billed.setdefault(subscription_id, {})[usage.meter_id] = None
        placed.append(replace(line, usage=replace(usage, after_invoice_id=before)))
    return tuple(placed), [
        SubscriptionUsageBilled(subscription_id=subscription_id, meter_ids=tuple(meter_ids), invoice_id=invoice_id)
        for subscription_id, meter_ids in billed.items()
    ]
