"""What is decided about transfers to another customer: now, or with the running period."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import check_currency, open_for_business, time_of
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.cancellation import CancellationIsScheduled
from domain.subscriptions.periods import last_end
from domain.subscriptions.renewal import begun_at, caught_up
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.transfer import (
    ContradictoryTransfer,
    ScheduledTransfer,
    SubscriptionNotTransferable,
    SubscriptionTransferScheduled,
    TransferToOtherClock,
    TransferToSameCustomer,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSubscription:
    """To another customer, as the subscription `to_subscription_id`: now, or with the running period. With `gives_back`
    what is unused of what was paid is credited to the one and charged to the other.
    """

    subscription_id: str
    customer_id: str
    to_subscription_id: str
    at_period_end: bool
    gives_back: bool = False


def transfer_subscription(command: TransferSubscription, streams: Streams, now: datetime) -> Decision:
    """What was billed stays the one customer's, what is billed from then on is the other's.

    One that is transferred at the very instant at which a period would begin does not begin it: the other one does.
    Raises CustomerIsDeleted, NotCustomersCurrency.
    """
    found = subscriptions.living(streams, command.subscription_id)
    at = time_of(streams, found.customer_id, now)
    if command.at_period_end and command.gives_back:
        raise ContradictoryTransfer
    SUBSCRIPTION.check_new(streams, command.to_subscription_id)
    ahead = caught_up(streams, command.subscription_id, at, ends=not command.at_period_end).to_change()
    subscription = ahead.subscription
    _check_transferable(subscription, command.customer_id, ahead.streams)
    to = ScheduledTransfer(customer_id=command.customer_id, subscription_id=command.to_subscription_id)
    if command.at_period_end:
        scheduled = SubscriptionTransferScheduled(
            subscription_id=subscription.subscription_id, to=to, transfer_at=last_end(subscription)
        )
        return Decision(at, [*ahead.changes, SUBSCRIPTION.change(scheduled)])
    return Decision(at, [*ahead.changes, *begun_at(at, subscription, to, ahead.streams, gives_back=command.gives_back)])


def _check_transferable(subscription: Subscription, customer_id: str, streams: Streams) -> None:
    """Raises TransferToSameCustomer, CustomerIsDeleted, NotCustomersCurrency, TransferToOtherClock,
    SubscriptionNotTransferable, CancellationIsScheduled.
    """
    named = subscription.subscription_id
    if customer_id == subscription.customer_id:
        raise TransferToSameCustomer(customer=customer_id)
    customer = open_for_business(streams, customer_id)
    check_currency(customer, subscription.terms.currency)
    if customer.test_clock_id != subscription.test_clock_id:
        raise TransferToOtherClock(customer=customer_id, test_clock=customer.test_clock_id)
    if subscription.paused_at is not None:
        raise SubscriptionNotTransferable(subscription=named, status=subscription.status)
    if subscription.cancel_at is not None:
        raise CancellationIsScheduled(subscription=named, cancel_at=subscription.cancel_at)


HANDLERS: Final[Mapping[type, Handler]] = {TransferSubscription: transfer_subscription}
