"""Coupons as they are now, with how often they were redeemed."""

from domain.discounts.coupon import COUPON, OfferedCoupon
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(COUPON, OfferedCoupon, name="coupons", version=1, projection=Projection.BILLING)
