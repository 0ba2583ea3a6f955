"""What was reached of customers' limits, and when their counters were reset."""

from domain.entitlements.entitlement import ENTITLEMENT, Entitlement
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    ENTITLEMENT,
    Entitlement,
    name="entitlements",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, customer_id, created_at, entitlement_id",),
)
