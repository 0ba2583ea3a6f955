"""Tax rates, archived ones among them. Their events belong to the tenant's one stream of tax settings."""

from domain.tax.settings import RATE_EVENTS, ListedTaxRate, evolve_rate
from projections.read_model import Projection
from projections.stream_rows import part_model

TABLE = part_model(
    ListedTaxRate,
    evolve_rate,
    name="tax_rates",
    version=1,
    projection=Projection.BILLING,
    id_field="rate_id",
    events=RATE_EVENTS,
    beginning="tax_rate.created",
    indexes=("tenant_id, country, created_at, rate_id",),
)
