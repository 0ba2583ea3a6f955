"""Discounts as they are now, with what is used of them."""

from domain.discounts.discount import DISCOUNT, AttachedDiscount
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    DISCOUNT,
    AttachedDiscount,
    name="discounts",
    version=1,
    projection=Projection.BILLING,
    indexes=(
        "tenant_id, customer_id, created_at, discount_id",
        "tenant_id, subscription_id, created_at, discount_id",
        "tenant_id, coupon_id, created_at, discount_id",
    ),
)
