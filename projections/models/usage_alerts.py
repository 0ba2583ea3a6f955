"""Usage alerts, archived or not."""

from collections.abc import Sequence
from typing import Final

from domain.entitlements.usage_alert import USAGE_ALERT, UsageAlert
from projections.read_model import Projection
from projections.reading import Reader, many
from projections.stream_rows import stream_model

TABLE = stream_model(
    USAGE_ALERT,
    UsageAlert,
    name="usage_alerts",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, customer_id, created_at, usage_alert_id", "tenant_id, meter_id, created_at, usage_alert_id"),
)

_OF_THESE: Final = "(meter_id = ANY($3::text[]) OR meter_id IS NULL AND feature = ANY($4::text[]))"
_WATCHING: Final = f"""
SELECT usage_alert_id FROM read.usage_alerts
WHERE tenant_id = $1 AND archived_at IS NULL AND customer_id IS NULL AND {_OF_THESE}
UNION ALL
SELECT usage_alert_id FROM read.usage_alerts
WHERE tenant_id = $1 AND archived_at IS NULL AND customer_id = ANY($2::text[]) AND {_OF_THESE}
"""  # noqa: S608  constants


async def watching(
    connection: Reader, tenant_id: str, customer_ids: Sequence[str], meter_ids: Sequence[str], features: Sequence[str]
) -> list[UsageAlert]:
    """The alerts that watch one of these meters or features, of one of these customers or of all of the tenant's; in
    the order of their ids.
    """
    wanted = list(customer_ids), list(meter_ids), list(features)
    ids = [row["usage_alert_id"] for row in await connection.fetch(_WATCHING, tenant_id, *wanted)]
    found = [row.state for row in await many(connection, TABLE, tenant_id, ids)]
    return sorted(found, key=lambda alert: alert.usage_alert_id)
