"""Payment methods, detached ones too."""

from domain.customers.payment_method import PAYMENT_METHOD, PaymentMethod
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    PAYMENT_METHOD,
    PaymentMethod,
    name="payment_methods",
    version=1,
    projection=Projection.PAYMENTS,
    indexes=("tenant_id, customer_id, created_at, payment_method_id",),
)
