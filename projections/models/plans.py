"""Plans in their newest version. A subscription's own terms are in the subscription."""

from domain.catalog.plan import PLAN, Plan
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    PLAN,
    Plan,
    name="plans",
    version=1,
    projection=Projection.BILLING,
    texts=("(terms ->> 'name')",),
    indexes=("tenant_id, product_id, created_at, plan_id",),
)
