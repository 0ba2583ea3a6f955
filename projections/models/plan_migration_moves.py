"""What migrations of plans came to, subscription by subscription; `domain.subscriptions.migration_move` folds them."""

from domain.subscriptions import migration_move
from domain.subscriptions.migration_move import SubscriptionMove
from projections.read_model import Projection
from projections.stream_rows import part_model

TABLE = part_model(
    SubscriptionMove,
    migration_move.evolve,
    name="plan_migration_moves",
    version=1,
    projection=Projection.BILLING,
    id_field="move_id",
    events=migration_move.EVENTS,
    beginning="plan_migration.subscription_settled",
    indexes=(
        "tenant_id, migration_id, created_at, move_id",
        "tenant_id, migration_id, outcome, created_at, move_id",
    ),
)
