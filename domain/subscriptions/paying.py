"""What pays for what runs of a subscription, as its events leave it."""

from domain.kernel.billing_period import Interval
from domain.kernel.frozen import replace
from domain.subscriptions.running import BegunPeriod, ItemPaid, LineRef
from domain.subscriptions.state import Subscription
from domain.subscriptions.transfer import SubscriptionContinued


def billed(subscription: Subscription, invoice_id: str | None) -> Subscription:
    """Once something of it was invoiced: what waited for the next invoice is on this one."""
    if invoice_id is None:
        return subscription
    if not subscription.pending:
        return replace(subscription, latest_invoice_id=invoice_id)
    paid = tuple(
        replace(
            each,
            lines=tuple(
                line if line.invoice_id is not None else LineRef(invoice_id=invoice_id, line_id=line.line_id)
                for line in each.lines
            ),
        )
        for each in subscription.paid
    )
    return replace(subscription, latest_invoice_id=invoice_id, pending=(), paid=paid)


def given_back(subscription: Subscription, credited: tuple[ItemPaid, ...]) -> Subscription:
    """Once what is unused of these was credited: nothing pays for what runs of them."""
    if not credited:
        return subscription
    nothing = tuple(ItemPaid(price_id=each.price_id, lines=()) for each in credited)
    return replace(subscription, paid=latest(subscription.paid, nothing))


def latest(known: tuple[ItemPaid, ...], said: tuple[ItemPaid, ...]) -> tuple[ItemPaid, ...]:
    """What pays for each item, by what was said last."""
    named = {each.price_id for each in said}
    return (*(each for each in known if each.price_id not in named), *said)


def forgetting(subscription: Subscription, begun: tuple[Interval | None, ...]) -> Subscription:
    """Once periods of these intervals begin: what changes made of those before them is over."""
    if not subscription.paid and not subscription.arrears_from:
        return subscription
    over = {item.price_id for item in subscription.terms.items if item.interval in begun}
    return replace(
        subscription,
        paid=tuple(each for each in subscription.paid if each.price_id not in over),
        arrears_from=tuple(each for each in subscription.arrears_from if each.price_id not in over),
    )


def continued(subscription: Subscription, event: SubscriptionContinued) -> Subscription:
    """With what ran of the one whose place it takes; what its own invoice charged of that, that pays for it."""
    intervals = (None, *(each.interval for each in event.longer))
    billed_by = event.invoice_id
    return replace(
        billed(subscription, billed_by),
        period_index=event.index,
        period_start=event.period_start,
        period_end=event.period_end,
        longer=event.longer,
        is_short=event.is_short,
        begins_short=event.begins_short,
        former_anchor=event.former_anchor,
        arrears_from=event.arrears_from,
        begun=tuple(BegunPeriod(interval=own, index=event.index, invoice_id=billed_by) for own in intervals),
    )
