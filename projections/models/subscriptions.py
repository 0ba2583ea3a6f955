"""Subscriptions as they are now."""

from domain.kernel.money import Money
from domain.subscriptions.subscription import SUBSCRIPTION, Subscription
from projections.read_model import Projection
from projections.status_tally import status_tally
from projections.stream_rows import stream_model

TABLE = stream_model(
    SUBSCRIPTION,
    Subscription,
    name="subscriptions",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, customer_id, created_at, subscription_id",),
    tally=status_tally(
        "subscriptions",
        status=lambda subscription: subscription.status,
        money=lambda subscription: Money(0, subscription.terms.currency),
    ),
    tallied_by="billing_stats",
)
