"""What collecting its invoices makes of a subscription."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionPastDue:
    """Collecting an invoice failed; the subscription goes on while it is sorted out."""

    subscription_id: str
    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecovered:
    """The invoice that made it past due is settled."""

    subscription_id: str
    invoice_id: str
