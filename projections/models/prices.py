"""Prices, archived or not."""

from domain.catalog.price import PRICE, PlanPrice
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    PRICE,
    PlanPrice,
    name="prices",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, plan_id, created_at, price_id", "tenant_id, external_id"),
)
