"""Tax registrations, ended ones among them. Their events belong to the tenant's one stream of tax settings."""

from domain.tax.settings import REGISTRATION_EVENTS, TaxRegistration, evolve_registration
from projections.read_model import Projection
from projections.stream_rows import part_model

TABLE = part_model(
    TaxRegistration,
    evolve_registration,
    name="tax_registrations",
    version=1,
    projection=Projection.BILLING,
    id_field="registration_id",
    events=REGISTRATION_EVENTS,
    beginning="tax_registration.created",
    indexes=("tenant_id, country, created_at, registration_id",),
)
