"""Migrations of plans as they stand now."""

from domain.subscriptions.migration import PLAN_MIGRATION, PlanMigration
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    PLAN_MIGRATION,
    PlanMigration,
    name="plan_migrations",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, plan_id, created_at, migration_id",),
)
