"""What a change of a subscription bills: by item, what is unused of what was paid, and what the rest of the new costs.

Items in advance are credited and charged (`proration.plan_change`); of items in arrears, what was used of the old is
billed, and the new one owes from there on. Lines wait for the next invoice or are invoiced at once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from domain.catalog.price import BillingTiming
from domain.invoicing.giving_back import unused_credited
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel import identifiers
from domain.kernel.billing_period import Period
from domain.kernel.consequences import After
from domain.kernel.identifiers import derived_id
from domain.kernel.money import Money
from domain.kernel.stream import Change, Streams
from domain.pricing.amount import exact_amount_of
from domain.subscriptions.change import Proration, SubscriptionChanged
from domain.subscriptions.charges import Charge, charges_of
from domain.subscriptions.counting import recounted
from domain.subscriptions.giving_back import credit_line, policy_of, service_of
from domain.subscriptions.netting import Net, netted
from domain.subscriptions.periods import (
    Served,
    begins_with,
    is_free,
    line_of,
    running_period,
    served_until,
    service_period,
)
from domain.subscriptions.proration import ProrationPolicy, plan_change
from domain.subscriptions.running import ItemFrom, ItemPaid, LineRef, LongerPeriod
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION, evolve
from domain.subscriptions.terms import SubscriptionItem, SubscriptionTerms
from domain.subscriptions.transitions import issued, start_period


class _Gathering:
    """What a change comes to, gathered item by item. Without a policy nothing is prorated; with `ends_all` every period
    ends here.
    """

    def __init__(
        self,
        subscription: Subscription,
        at: datetime,
        policy: ProrationPolicy | None,
        streams: Streams,
        *,
        ends_all: bool,
    ) -> None:
        self.subscription = subscription
        self.at = at
        self.policy = policy
        self.streams = streams
        self.ends_all = ends_all
        self.lines: list[InvoiceLine] = []
        self.paid = {each.price_id: each.lines for each in subscription.paid}
        self.arrears_from = {each.price_id: each.at for each in subscription.arrears_from}
        self.longer = list(subscription.longer)

    def _policy_for(self, item: SubscriptionItem) -> ProrationPolicy | None:
        """A stub that costs nothing is not divided either."""
        return None if is_free(self.subscription, item.interval) else self.policy

    def _is_divided(self, item: SubscriptionItem) -> bool:
        return item.meter_id is not None or self._policy_for(item) is not None

    def line_id(self, what: str) -> str:
        """The same whenever the same change is decided again."""
        subscription = self.subscription
        return derived_id(
            identifiers.INVOICE_LINE, subscription.subscription_id, f"change/{subscription.changes}/{what}"
        )

    def over(self, item: SubscriptionItem, after: SubscriptionItem | None) -> None:
        """An item is another from now on, or is no more."""
        running = running_period(self.subscription, item.interval)
        assert running is not None, "what was agreed has begun"
        if item.timing is BillingTiming.IN_ARREARS:
            self._used(item, after, running)
        elif self.at < running.end:
            charges = charges_of(self.subscription, item, self.streams)
            self._prorated(item, charges, after, running)
        else:
            self.paid.pop(item.price_id, None)

    def begun(self, item: SubscriptionItem, index: int) -> None:
        """An item is there from now on. `index` is the subscription's period at this instant."""
        running = running_period(self.subscription, item.interval)
        if running is None:
            assert item.interval is not None, "the subscription's own period runs"
            if begins_with(self.subscription, item.interval, index):
                return  # with the period that begins here, whole
            service = service_period(self.subscription, item.interval, index)
            running = Period(self.at, service.period.end)
            if all(each.interval != item.interval for each in self.longer):
                self.longer.append(LongerPeriod(interval=item.interval, start=running.start, end=running.end))
        if item.timing is BillingTiming.IN_ARREARS:
            self.arrears_from[item.price_id] = min(self.at, running.end) if self._is_divided(item) else running.end
        elif self.at < running.end:
            self._prorated(item, (), item, running)

    def _prorated(
        self, item: SubscriptionItem, charges: tuple[Charge, ...], after: SubscriptionItem | None, running: Period
    ) -> None:
        """Of an item in advance: credits for what paid it, and a charge for what it is after the change."""
        pays = [each.ref for each in charges]
        policy = self._policy_for(item)
        if policy is not None:
            rounding = policy.rounding
            price = None if after is None else exact_amount_of(after.price, after.licensed_quantity, rounding)
            done = plan_change(
                [each.paid for each in charges],
                Money.zero(self.subscription.terms.currency) if price is None else price,
                self.at,
                service_of(self.subscription, item, running),
                policy,
            )
            known = {each.line.line_id: each for each in charges}
            pays = [known[str(each.line_id)].ref for each in done.still_paid]
            for line in done.lines:
                if line.gives_back is not None:
                    charge = known[str(line.gives_back.line_id)]
                    self.lines += credit_line(line, charge, self.subscription)
                elif after is not None:
                    charge_id = self.line_id(f"charge/{after.price_id}")
                    self.lines.append(line_of(after, Served(line.period, line.share), charge_id, rounding))
                    pays.append(LineRef(invoice_id=None, line_id=charge_id))
        self.paid.pop(item.price_id, None)
        if after is not None:
            self.paid[after.price_id] = tuple(pays)

    def _used(self, item: SubscriptionItem, after: SubscriptionItem | None, running: Period) -> None:
        """Of an item in arrears: what was used of it until now is owed, and from here on what it is after the change.
        Without proration the running period is the old one's alone, but for usage: that is billed by the price of its
        time.
        """
        since = self.arrears_from.pop(item.price_id, None)
        until = min(self.at, running.end) if self.ends_all or self._is_divided(item) else running.end
        is_measured = item.meter_id is not None
        used = served_until(self.subscription, item.interval, until, since=since, is_measured=is_measured)
        if used is not None:
            line_id = self.line_id(f"used/{item.price_id}")
            self.lines.append(line_of(item, used, line_id, self.subscription.terms.rounding))
        if after is not None:
            self.arrears_from[after.price_id] = until if since is None else max(since, until)


def change(
    subscription: Subscription,
    terms: SubscriptionTerms,
    proration: Proration,
    streams: Streams,
    at: datetime,
    *,
    resets_anchor: bool,
) -> list[Change]:
    """The subscription with these terms from `at` on, and what that bills; its own event comes first.

    Before its first period nothing is billed. At the end of a period nothing is prorated, and what is owed for it goes
    with what the next one bills.
    """
    resets_anchor = resets_anchor and subscription.period_end is not None
    policy = policy_of(subscription)
    gathered = _Gathering(
        subscription, at, None if proration is Proration.NONE else policy, streams, ends_all=resets_anchor
    )
    if subscription.period_end is not None:
        if resets_anchor:
            _all_over(gathered)
        else:
            _item_by_item(gathered, terms, subscription.period_end)
    net = netted(subscription.pending, gathered.lines)
    begins_another = resets_anchor or subscription.period_end is None or subscription.period_end <= at
    waits = [line for line in subscription.pending if line.line_id not in net.withdrawn]
    is_invoiced = proration is Proration.INVOICE_NOW and not begins_another and bool(waits or net.lines)
    invoice_id = derived_id(identifiers.INVOICE, subscription.subscription_id, f"change/{subscription.changes}")
    changed = SubscriptionChanged(
        subscription_id=subscription.subscription_id,
        terms=terms,
        proration=proration,
        lines=net.lines,
        withdrawn=net.withdrawn,
        invoice_id=invoice_id if is_invoiced else None,
        longer=() if resets_anchor else _still_sold(gathered.longer, terms),
        paid=() if resets_anchor else _paying(gathered.paid, net),
        arrears_from=_owing(dict.fromkeys(_in_arrears(terms), at) if resets_anchor else gathered.arrears_from),
        resets_anchor=resets_anchor,
        changed_at=at,
    )
    credited = [
        *unused_credited(net.lines, None, at),
        *unused_credited(_named(subscription.pending, net.withdrawn), None, at, sign=-1),
    ]
    counted = recounted(evolve(subscription, changed), at)
    changes = [SUBSCRIPTION.change(changed), *counted, *credited]
    known = After(streams, changes)
    after = SUBSCRIPTION.of(known, subscription.subscription_id)
    if resets_anchor:
        return [*changes, *start_period(after, known)]
    if is_invoiced:
        lines = (*waits, *net.lines)
        return [*changes, *issued(after, invoice_id, lines, known, at)]
    return changes


def _item_by_item(gathered: _Gathering, terms: SubscriptionTerms, period_end: datetime) -> None:
    """What is the same as before is left alone. An item that was sold anew by another interval is over, and begins."""
    subscription = gathered.subscription
    index = subscription.period_index + (gathered.at >= period_end)
    before = {item.price_id: item for item in subscription.terms.items}
    after = {item.price_id: item for item in terms.items}
    for price_id in dict.fromkeys((*before, *after)):
        was, will_be = before.get(price_id), after.get(price_id)
        if was is None:
            assert will_be is not None, "it is in one of the two"
            gathered.begun(will_be, index)
        elif will_be is None or (will_be.quantity, will_be.interval) != (was.quantity, was.interval):
            goes_on = will_be if will_be is not None and will_be.interval == was.interval else None
            # An item of a longer interval that was to begin with a period to come has nothing to end.
            if running_period(subscription, was.interval) is not None:
                gathered.over(was, goes_on)
            if will_be is not None and goes_on is None:
                gathered.begun(will_be, index)


def _all_over(gathered: _Gathering) -> None:
    """Every period ends here, whatever becomes of its items."""
    for item in gathered.subscription.terms.items:
        if running_period(gathered.subscription, item.interval) is not None:
            gathered.over(item, None)


def _still_sold(longer: Iterable[LongerPeriod], terms: SubscriptionTerms) -> tuple[LongerPeriod, ...]:
    intervals = {item.interval for item in terms.items}
    return tuple(each for each in longer if each.interval in intervals)


def _named(lines: Iterable[InvoiceLine], line_ids: tuple[str, ...]) -> list[InvoiceLine]:
    return [line for line in lines if line.line_id in line_ids]


def _paying(paid: Mapping[str, tuple[LineRef, ...]], net: Net) -> tuple[ItemPaid, ...]:
    return tuple(
        ItemPaid(price_id=price_id, lines=tuple(net.instead.get(ref.line_id, ref) for ref in lines))
        for price_id, lines in paid.items()
    )


def _in_arrears(terms: SubscriptionTerms) -> list[str]:
    return [item.price_id for item in terms.items if item.timing is BillingTiming.IN_ARREARS]


def _owing(arrears_from: Mapping[str, datetime]) -> tuple[ItemFrom, ...]:
    return tuple(ItemFrom(price_id=price_id, at=since) for price_id, since in arrears_from.items())
