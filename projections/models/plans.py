"""Plans in their newest version. A subscription's own terms are in the subscription."""

from domain.catalog.plan import PLAN, Plan
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    PLAN,
    Plan,
    name="plans",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, product_id, created_at, plan_id",),
)


async def get(connection: Reader, tenant_id: str, plan_id: str) -> Found[Plan] | None:
    """The plan, archived or not."""
    return await current(connection, TABLE, PLAN, tenant_id, plan_id)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    product_id: str | None = None,
    created: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[Found[Plan]]:
    """Plans, newest first, archived ones too."""
    where = {"product_id": product_id}
    return await reading.page(connection, TABLE, tenant_id, where=where, created=created, request=request)
