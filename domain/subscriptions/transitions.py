"""What becomes of a subscription, with the invoice that bills it: a period begins, a pause, its end, the end of all."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from typing import NamedTuple

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.discounting import ended_with_subscription
from domain.invoicing.giving_back import unused_credited
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_discount import Discountable, OwnDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.issuing import billed
from domain.kernel import identifiers
from domain.kernel.billing_period import Period
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.identifiers import derived_id
from domain.kernel.stream import Change, Streams
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCanceled
from domain.subscriptions.counting import recounted
from domain.subscriptions.giving_back import service_of, unused
from domain.subscriptions.metering import in_turn
from domain.subscriptions.pause import SubscriptionPaused, SubscriptionResumed
from domain.subscriptions.periods import (
    OwnInterval,
    Served,
    arrears_until,
    is_free,
    line_of,
    lines_for,
    longer_periods,
    next_period,
    period_invoice_id,
    resumed_period,
    running_period,
    served_from,
    stub_from,
)
from domain.subscriptions.proration_basis import share_of
from domain.subscriptions.running import ItemPaid, LineRef, LongerPeriod
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted, evolve
from domain.subscriptions.terms import TrialEnd
from domain.subscriptions.trial import SubscriptionTrialEnded


class Start(NamedTuple):
    """How a subscription's next period begins, and the invoice that bills it, if there are lines for one."""

    subscription: Subscription
    event: SubscriptionPeriodStarted
    invoice_id: str
    lines: tuple[InvoiceLine, ...]


def start_period(subscription: Subscription, streams: Streams) -> list[Change]:
    """The next period, and the longer ones that begin with it, with an invoice for them and for what the last ones left
    in arrears.
    """
    _, started, invoice_id, lines = next_start(subscription)
    return [SUBSCRIPTION.change(started), *issued(subscription, invoice_id, lines, streams, started.period_start)]


def next_start(subscription: Subscription) -> Start:
    """The next period, and the longer ones that begin with it. Nothing but the subscription decides on it."""
    index, period = next_period(subscription)
    longer = longer_periods(subscription, index, period.start)
    invoice_id = period_invoice_id(subscription, index)
    lines = period_lines(subscription, index, period, longer, invoice_id)
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        longer=longer,
        invoice_id=invoice_id if lines else None,
    )
    return Start(subscription, started, invoice_id, lines)


def over(subscription: Subscription, streams: Streams) -> list[Change]:
    """The end of a trial: the first period begins; or what was agreed, where nothing is there to be charged."""
    at = subscription.first_period_at
    customer = CUSTOMER.of(streams, subscription.customer_id)
    is_charged = subscription.terms.collection is CollectionMethod.CHARGE_AUTOMATICALLY
    if not is_charged or customer.default_payment_method_id is not None:
        return start_period(subscription, streams)
    match subscription.terms.trial_end:
        case TrialEnd.INVOICE:
            return start_period(subscription, streams)
        case TrialEnd.PAUSE:
            return pause(subscription, at, None, streams)
        case TrialEnd.CANCEL:
            return end(subscription, at, CancellationReason.NO_PAYMENT_METHOD, streams)


def period_lines(
    subscription: Subscription, index: int, period: Period, longer: Iterable[LongerPeriod], invoice_id: str
) -> tuple[InvoiceLine, ...]:
    """What the next period, and those that begin with it, cost in advance, what the ones before left in arrears, and
    what waits for the next invoice.
    """
    begun: dict[OwnInterval, Served] = {None: Served(period)}
    if subscription.begins_short:
        rest = stub_from(subscription, None, index, period)
        begun = {} if rest is None else {None: rest}
    for each in longer:
        whole = Period(each.start, each.end)
        served = stub_from(subscription, each.interval, index, whole) if each.is_short else Served(whole)
        if served is not None:
            begun[each.interval] = served
    return (
        *lines_for(subscription, BillingTiming.IN_ADVANCE, begun, invoice_id),
        *arrears_until(subscription, [None, *(each.interval for each in longer)], period.start, invoice_id),
        *subscription.pending,
    )


def pause(
    subscription: Subscription, at: datetime, resumes_at: datetime | None, streams: Streams, *, gives_back: bool = False
) -> list[Change]:
    """Nothing runs on, with an invoice for what the running periods left in arrears (their used days); with
    `gives_back` what is unused of what was paid is credited on it.
    """
    invoice_id = _invoice_id(subscription, f"pause/{subscription.changes}")
    given_back = unused(subscription, at, streams, ends=False) if gives_back else ()
    lines = (*_all_arrears(subscription, at, invoice_id), *subscription.pending, *given_back)
    paused = SubscriptionPaused(
        subscription_id=subscription.subscription_id,
        paused_at=at,
        resumes_at=resumes_at,
        given_back=_charges_of(given_back, invoice_id),
        invoice_id=invoice_id if lines else None,
    )
    return [SUBSCRIPTION.change(paused), *_billed_with(given_back, subscription, invoice_id, lines, streams, at)]


def resume(subscription: Subscription, at: datetime, streams: Streams) -> list[Change]:
    """Whatever period still runs is paid and runs on; what the pause gave back of it is charged from here on. The
    others begin in the middle, with an invoice for what is left of them in advance; in arrears each of them bills what
    is left when it ends.
    """
    if subscription.period_end is None:
        return _begun_late(subscription, at, streams)
    invoice_id = _invoice_id(subscription, f"resume/{subscription.changes}")
    charges = _charged_again(subscription, at, streams)
    lines = (*charges, *subscription.pending) if charges else ()
    resumed = SubscriptionResumed(
        subscription_id=subscription.subscription_id,
        paid=_by_price(
            [(str(line.price_id), LineRef(invoice_id=invoice_id, line_id=line.line_id)) for line in charges]
        ),
        invoice_id=invoice_id if lines else None,
        resumed_at=at,
    )
    changes = [SUBSCRIPTION.change(resumed), *issued(subscription, invoice_id, lines, streams, at)]
    if at < subscription.period_end:
        return changes
    known = After(streams, changes)
    subscription = evolve(subscription, resumed)
    index, period = resumed_period(subscription, at)
    longer = tuple(replace(each, start=at) for each in longer_periods(subscription, index, at))
    begun: dict[OwnInterval, Period] = {None: period} | {each.interval: Period(at, each.end) for each in longer}
    rest = {own: served_from(subscription, own, index, left) for own, left in begun.items()}
    invoice_id = period_invoice_id(subscription, index)
    served = {own: left for own, left in rest.items() if left is not None}
    lines = (*lines_for(subscription, BillingTiming.IN_ADVANCE, served, invoice_id), *subscription.pending)
    started = SubscriptionPeriodStarted(
        subscription_id=subscription.subscription_id,
        index=index,
        period_start=period.start,
        period_end=period.end,
        longer=longer,
        invoice_id=invoice_id if lines else None,
    )
    return [*changes, SUBSCRIPTION.change(started), *issued(subscription, invoice_id, lines, known, at)]


def _begun_late(subscription: Subscription, at: datetime, streams: Streams) -> list[Change]:
    """What was paused where its trial ended begins now, with its first period."""
    resumed = SubscriptionResumed(subscription_id=subscription.subscription_id, resumed_at=at)
    ended = SubscriptionTrialEnded(subscription_id=subscription.subscription_id, trial_end=at)
    changes = [SUBSCRIPTION.change(resumed)]
    return [*changes, *begun_after(evolve(subscription, resumed), ended, After(streams, changes))]


def begun_after(subscription: Subscription, ended: SubscriptionTrialEnded, streams: Streams) -> list[Change]:
    """A trial is over at another time than was agreed, and its first period begins."""
    ending = evolve(subscription, ended)
    changes = [SUBSCRIPTION.change(ended), *recounted(ending, ended.trial_end)]
    known = After(streams, changes)
    return [*changes, *start_period(SUBSCRIPTION.of(known, subscription.subscription_id), known)]


def _charged_again(subscription: Subscription, at: datetime, streams: Streams) -> tuple[InvoiceLine, ...]:
    """What the pause gave back, for the rest of the running periods: as much of each item as was paid before it."""
    items = {item.price_id: item for item in subscription.terms.items}
    lines: list[InvoiceLine] = []
    for each in subscription.given_back:
        item = items[each.price_id]
        running = running_period(subscription, item.interval)
        if running is None or not running.contains(at):
            continue
        if is_free(subscription, item.interval):
            continue
        rest = Period(at, running.end)
        share = share_of(rest, service_of(subscription, item, running), subscription.terms.proration_basis)
        for ref in each.lines if share else ():
            paid = next(line for line in INVOICE.of(streams, str(ref.invoice_id)).lines if line.line_id == ref.line_id)
            assert paid.pricing is not None, "a price billed it"
            name = f"change/{subscription.changes}/charge/{ref.line_id}"
            line_id = derived_id(identifiers.INVOICE_LINE, subscription.subscription_id, name)
            as_paid = replace(item, price=paid.pricing.price, quantity=paid.quantity)
            lines.append(line_of(as_paid, Served(rest, share), line_id, subscription.terms.rounding))
    return tuple(lines)


def _charges_of(given_back: Iterable[InvoiceLine], invoice_id: str) -> tuple[ItemPaid, ...]:
    """The lines that these credits give back; those that wait leave for this invoice."""
    found: list[tuple[str, LineRef]] = []
    for line in given_back:
        of = line.gives_back
        assert of is not None, "a credit gives something back"
        found.append((str(line.price_id), LineRef(invoice_id=of.invoice_id or invoice_id, line_id=of.line_id)))
    return _by_price(found)


def _by_price(lines: Iterable[tuple[str, LineRef]]) -> tuple[ItemPaid, ...]:
    paid: dict[str, tuple[LineRef, ...]] = {}
    for price_id, line in lines:
        paid[price_id] = (*paid.get(price_id, ()), line)
    return tuple(ItemPaid(price_id=price_id, lines=refs) for price_id, refs in paid.items())


def end(
    subscription: Subscription,
    at: datetime,
    reason: CancellationReason,
    streams: Streams,
    *,
    gives_back: bool = False,
    transferred_to: str | None = None,
) -> list[Change]:
    """The end, with an invoice for what the running periods left in arrears (their used days); with `gives_back` what
    is unused of what was paid is credited on it. Its discounts end, too. Where another subscription takes its place,
    that one goes on with the day of the end, which is billed once.
    """
    invoice_id = _invoice_id(subscription, "end")
    is_over = transferred_to is None
    given_back = unused(subscription, at, streams, ends=is_over) if gives_back else ()
    lines = (*_all_arrears(subscription, at, invoice_id, ends=is_over), *subscription.pending, *given_back)
    canceled = SubscriptionCanceled(
        subscription_id=subscription.subscription_id,
        canceled_at=at,
        reason=reason,
        invoice_id=invoice_id if lines else None,
        transferred_to=transferred_to,
    )
    invoiced = _billed_with(given_back, subscription, invoice_id, lines, streams, at)
    changes = [SUBSCRIPTION.change(canceled), *invoiced]
    if not subscription.discount_ids:
        return changes
    return [*changes, *ended_with_subscription(After(streams, changes), subscription.discount_ids, at)]


def _billed_with(
    given_back: tuple[InvoiceLine, ...],
    subscription: Subscription,
    invoice_id: str,
    lines: tuple[InvoiceLine, ...],
    streams: Streams,
    at: datetime,
) -> list[Change]:
    """What the credits give back is told to its invoices, and all is on a new one."""
    told = unused_credited(given_back, None, at)
    return [*told, *issued(subscription, invoice_id, lines, After(streams, told), at)]


def _invoice_id(subscription: Subscription, name: str) -> str:
    return derived_id(identifiers.INVOICE, subscription.subscription_id, name)


def _all_arrears(
    subscription: Subscription, until: datetime, invoice_id: str, *, ends: bool = False
) -> tuple[InvoiceLine, ...]:
    """What all running periods owe for the time before `until`; with `ends` it is the end of the subscription."""
    running: list[OwnInterval] = [None, *(period.interval for period in subscription.longer)]
    return arrears_until(subscription, running, until, invoice_id, ends=ends)


def issued(
    subscription: Subscription,
    invoice_id: str,
    lines: tuple[InvoiceLine, ...],
    streams: Streams,
    at: datetime,
    *,
    further: Sequence[Subscription] = (),
    bills: Sequence[int] = (),
) -> list[Change]:
    """The invoice of these lines, if there are any. `bills` says how many of them are each period's, of several late
    ones; or, with `further` subscriptions that it bills, too, how many are each one's.
    """
    if not lines:
        return []
    INVOICE.check_new(streams, invoice_id)
    terms = subscription.terms
    places = _places((subscription, *further), bills if further else (len(lines),))
    lines, usage = in_turn([(each, lines[start:end]) for each, start, end in places], invoice_id)
    own = [OwnDiscount(discount_id=of, start=start, end=end) for each, start, end in places for of in each.discount_ids]
    invoiced = billed(
        streams,
        invoice_id=invoice_id,
        customer=CUSTOMER.of(streams, subscription.customer_id),
        subscription_id=subscription.subscription_id,
        further_subscription_ids=tuple([each.subscription_id for each in further]),
        collection=terms.collection,
        currency=terms.currency,
        lines=tuple([line if line.gives_back is None else _leaving(line, invoice_id) for line in lines]),
        days_until_due=terms.days_until_due,
        rounding=terms.rounding,
        discountable=Discountable(at=at, own=tuple(own), bills=() if further else tuple(bills)),
        at=at,
    )
    return [*(SUBSCRIPTION.change(each) for each in usage), *invoiced]


def _places(subscriptions: Sequence[Subscription], lengths: Sequence[int]) -> list[tuple[Subscription, int, int]]:
    """Each subscription, and from where to where its own lines are, of which there are so many: it knows what bills
    their usage, and its own discounts come off them, and off none of what else is on its invoice.
    """
    bounds = pairwise(accumulate(lengths, initial=0))
    return [(each, start, end) for each, (start, end) in zip(subscriptions, bounds, strict=True)]


def _leaving(credit: InvoiceLine, invoice_id: str) -> InvoiceLine:
    """A credit for a line that waited with it says which invoice took both."""
    of = credit.gives_back
    assert of is not None, "a credit gives something back"
    return credit if of.invoice_id is not None else replace(credit, gives_back=replace(of, invoice_id=invoice_id))
