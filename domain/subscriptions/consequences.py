"""What becomes of a subscription when something becomes of its invoices, and of the prices that it is sold."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.catalog.price import PRICE, PriceUsed
from domain.customers.consolidation import CustomerBilledApart
from domain.customers.customer import CUSTOMER
from domain.discounts.discount import DiscountEnded
from domain.invoicing.collection import InvoiceCollectionFailed
from domain.invoicing.finalization import InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceMarkedUncollectible, InvoicePaid
from domain.kernel.consequences import After, Consequence
from domain.kernel.stream import Change, Streams
from domain.subscriptions.cancellation import SubscriptionCanceled
from domain.subscriptions.change import SubscriptionChanged, SubscriptionChangeScheduled
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.discounts import SubscriptionDiscountEnded
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionCreated


def recovered(
    event: InvoicePaid | InvoiceVoided | InvoiceMarkedUncollectible, streams: Streams, at: datetime
) -> list[Change]:
    """An invoice that is settled, or that nobody waits for any more, does not make its subscription past due."""
    return [
        SUBSCRIPTION.change(
            SubscriptionRecovered(subscription_id=subscription.subscription_id, invoice_id=event.invoice_id)
        )
        for subscription in _billed_by(event.invoice_id, streams)
        if event.invoice_id in subscription.past_due_invoice_ids
    ]


def past_due(event: InvoiceCollectionFailed, streams: Streams, at: datetime) -> list[Change]:
    """An invoice that could not be collected makes its subscription past due, unless that has ended by now."""
    changes: list[Change] = []
    for subscription in _billed_by(event.invoice_id, streams):
        if event.invoice_id in subscription.past_due_invoice_ids:
            continue
        ahead = caught_up(After(streams, changes), subscription.subscription_id, at)
        changes += ahead.changes
        if ahead.subscription.status is not SubscriptionStatus.CANCELED:
            unpaid = SubscriptionPastDue(subscription_id=subscription.subscription_id, invoice_id=event.invoice_id)
            changes.append(SUBSCRIPTION.change(unpaid))
    return changes


def billed_apart(event: SubscriptionCanceled, streams: Streams, at: datetime) -> list[Change]:
    """What has ended shares no more invoices."""
    subscription = SUBSCRIPTION.of(streams, event.subscription_id)
    if not subscription.terms.billed_together:
        return []
    apart = CustomerBilledApart(customer_id=subscription.customer_id, subscription_id=event.subscription_id)
    return [CUSTOMER.change(apart)]


def _billed_by(invoice_id: str, streams: Streams) -> list[Subscription]:
    """The subscriptions that an invoice bills."""
    found = (streams.get(SUBSCRIPTION, each) for each in INVOICE.of(streams, invoice_id).subscription_ids)
    return [subscription for subscription in found if subscription is not None]


def no_longer_discounted(event: DiscountEnded, streams: Streams, at: datetime) -> list[Change]:
    """Whose discount of their own has ended does not look for it any more."""
    if event.subscription_id is None:
        return []
    ended = SubscriptionDiscountEnded(subscription_id=event.subscription_id, discount_id=event.discount_id)
    return [SUBSCRIPTION.change(ended)]


def sold(
    event: SubscriptionCreated | SubscriptionChanged | SubscriptionChangeScheduled, streams: Streams, at: datetime
) -> list[Change]:
    """What is sold for the first time, or is to be, is not deleted any more. One subscription says it for all that come
    after it, so that prices are not written to by every sale.
    """
    terms = event.change.terms if isinstance(event, SubscriptionChangeScheduled) else event.terms
    prices = (PRICE.of(streams, item.price_id) for item in terms.items)
    return [
        PRICE.change(PriceUsed(price_id=price.price_id, by=event.subscription_id))
        for price in prices
        if price.used_by is None
    ]


CONSEQUENCES: Final[Mapping[type, Consequence]] = {
    InvoicePaid: recovered,
    InvoiceVoided: recovered,
    InvoiceMarkedUncollectible: recovered,
    InvoiceCollectionFailed: past_due,
    SubscriptionCanceled: billed_apart,
    DiscountEnded: no_longer_discounted,
    SubscriptionCreated: sold,
    SubscriptionChanged: sold,
    SubscriptionChangeScheduled: sold,
}
