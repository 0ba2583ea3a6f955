"""Prices, archived or not."""

from domain.catalog.price import PRICE, PlanPrice
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    PRICE,
    PlanPrice,
    name="prices",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, plan_id, created_at, price_id", "tenant_id, external_id"),
)


async def get(connection: Reader, tenant_id: str, price_id: str) -> Found[PlanPrice] | None:
    """The price."""
    return await current(connection, TABLE, PRICE, tenant_id, price_id)


async def by_external_id(connection: Reader, tenant_id: str, external_id: str) -> Found[PlanPrice] | None:
    """The price with this external id; a price keeps its own for ever."""
    found = await connection.fetchval(
        "SELECT price_id FROM read.prices WHERE tenant_id = $1 AND external_id = $2", tenant_id, external_id
    )
    return None if found is None else await get(connection, tenant_id, found)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    plan_id: str | None = None,
    external_id: str | None = None,
    created: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[Found[PlanPrice]]:
    """Prices, newest first."""
    where = {"plan_id": plan_id, "external_id": external_id}
    return await reading.page(connection, TABLE, tenant_id, where=where, created=created, request=request)
