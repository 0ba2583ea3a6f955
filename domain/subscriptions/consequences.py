"""What becomes of a subscription when something becomes of its invoices."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.invoicing.collection import InvoiceCollectionFailed
from domain.invoicing.finalization import InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceMarkedUncollectible, InvoicePaid
from domain.kernel.consequences import Consequence
from domain.kernel.stream import Change, Streams
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.renewal import caught_up
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION


def recovered(
    event: InvoicePaid | InvoiceVoided | InvoiceMarkedUncollectible, streams: Streams, at: datetime
) -> list[Change]:
    """An invoice that is settled, or that nobody waits for any more, does not make its subscription past due."""
    subscription = _billed_by(event.invoice_id, streams)
    if subscription is None or event.invoice_id not in subscription.past_due_invoice_ids:
        return []
    settled = SubscriptionRecovered(subscription_id=subscription.subscription_id, invoice_id=event.invoice_id)
    return [SUBSCRIPTION.change(settled)]


def past_due(event: InvoiceCollectionFailed, streams: Streams, at: datetime) -> list[Change]:
    """An invoice that could not be collected makes its subscription past due, unless that has ended by now."""
    subscription = _billed_by(event.invoice_id, streams)
    if subscription is None or event.invoice_id in subscription.past_due_invoice_ids:
        return []
    ahead = caught_up(streams, subscription.subscription_id, at)
    if ahead.subscription.status is SubscriptionStatus.CANCELED:
        return ahead.changes
    unpaid = SubscriptionPastDue(subscription_id=subscription.subscription_id, invoice_id=event.invoice_id)
    return [*ahead.changes, SUBSCRIPTION.change(unpaid)]


def _billed_by(invoice_id: str, streams: Streams) -> Subscription | None:
    """The subscription that an invoice bills; None where it bills none."""
    subscription_id = INVOICE.of(streams, invoice_id).subscription_id
    return None if subscription_id is None else streams.get(SUBSCRIPTION, subscription_id)


CONSEQUENCES: Final[Mapping[type, Consequence]] = {
    InvoicePaid: recovered,
    InvoiceVoided: recovered,
    InvoiceMarkedUncollectible: recovered,
    InvoiceCollectionFailed: past_due,
}
