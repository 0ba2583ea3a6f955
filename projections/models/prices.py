"""Prices, archived or not."""

from typing import Final

from domain.catalog.price import PRICE, PlanPrice
from projections.read_model import Projection
from projections.reading import Reader
from projections.stream_rows import stream_model

TABLE = stream_model(
    PRICE,
    PlanPrice,
    name="prices",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, plan_id, created_at, price_id", "tenant_id, external_id"),
)

_ARCHIVED: Final = """
SELECT price_id FROM read.prices WHERE tenant_id = $1 AND plan_id = $2 AND archived_at IS NOT NULL
"""


async def archived_of_plan(connection: Reader, tenant_id: str, plan_id: str) -> list[str]:
    """The ids of a plan's prices that nobody new subscribes to."""
    return [record["price_id"] for record in await connection.fetch(_ARCHIVED, tenant_id, plan_id)]
