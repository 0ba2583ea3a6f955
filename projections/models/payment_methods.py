"""Payment methods, detached ones too."""

from domain.customers.payment_method import PAYMENT_METHOD, PaymentMethod
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    PAYMENT_METHOD,
    PaymentMethod,
    name="payment_methods",
    version=1,
    projection=Projection.PAYMENTS,
    indexes=("tenant_id, customer_id, created_at, payment_method_id",),
)


async def get(connection: Reader, tenant_id: str, payment_method_id: str) -> Found[PaymentMethod] | None:
    """The payment method."""
    return await current(connection, TABLE, PAYMENT_METHOD, tenant_id, payment_method_id)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    customer_id: str | None = None,
    created: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[Found[PaymentMethod]]:
    """Payment methods, newest first."""
    where = {"customer_id": customer_id}
    return await reading.page(connection, TABLE, tenant_id, where=where, created=created, request=request)
