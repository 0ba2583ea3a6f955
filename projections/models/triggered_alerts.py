"""Usage alerts that were triggered: by alert, customer and period, what was reached."""

from datetime import datetime
from typing import Final

from domain.entitlements.triggered_alert import TRIGGERED_ALERT, TriggeredAlert
from projections.read_model import Projection
from projections.reading import ANY_TIME, PageRequest, Reader, many, page
from projections.stream_rows import stream_model

TABLE = stream_model(
    TRIGGERED_ALERT,
    TriggeredAlert,
    name="triggered_alerts",
    version=1,
    projection=Projection.BILLING,
    indexes=(
        "tenant_id, usage_alert_id, created_at, trigger_id",
        "tenant_id, customer_id, created_at, trigger_id",
        "tenant_id, meter_id, created_at, trigger_id",
    ),
)

SHOWN_MAX: Final = 20
"""That are told of one meter and time, or of one alert: the latest."""

_IN: Final = """
SELECT trigger_id FROM read.triggered_alerts WHERE tenant_id = $1 AND customer_id = $2 AND meter_id = $3
    AND (period_start IS NULL OR period_start < $5) AND (period_end IS NULL OR period_end > $4)
ORDER BY created_at DESC, trigger_id DESC LIMIT $6
"""


async def triggered_in(
    connection: Reader, tenant_id: str, customer_id: str, meter_id: str, start: datetime, end: datetime
) -> list[TriggeredAlert]:
    """What was reached of a customer's meter in periods that share a part of [start, end), the latest first."""
    rows = await connection.fetch(_IN, tenant_id, customer_id, meter_id, start, end, SHOWN_MAX)
    ids = [row["trigger_id"] for row in rows]
    found = {row.state.trigger_id: row.state for row in await many(connection, TABLE, tenant_id, ids)}
    return [found[each] for each in ids if each in found]


async def latest_of(connection: Reader, tenant_id: str, usage_alert_id: str) -> list[TriggeredAlert]:
    """What an alert told of, by customer and period, the latest first."""
    where = {"usage_alert_id": usage_alert_id}
    found = await page(
        connection, TABLE, tenant_id, where=where, created=ANY_TIME, request=PageRequest(limit=SHOWN_MAX)
    )
    return [row.state for row in found.items]
