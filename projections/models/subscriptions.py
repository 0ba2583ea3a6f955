"""Subscriptions as they are now."""

from domain.kernel.money import Money
from domain.subscriptions.subscription import SUBSCRIPTION, Subscription
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.status_tally import status_tally
from projections.stream_rows import Found, stream_model

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


async def get(connection: Reader, tenant_id: str, subscription_id: str) -> Found[Subscription] | None:
    """The subscription."""
    return await current(connection, TABLE, SUBSCRIPTION, tenant_id, subscription_id)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    customer_id: str | None = None,
    status: str | None = None,
    test_clock_id: str | None = None,
    created: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[Found[Subscription]]:
    """Subscriptions, newest first."""
    where = {"customer_id": customer_id, "status": status, "test_clock_id": test_clock_id}
    return await reading.page(connection, TABLE, tenant_id, where=where, created=created, request=request)
