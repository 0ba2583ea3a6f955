"""A tenant's billing settings, as the log has them."""

from typing import Final

from domain.invoicing.billing_settings import (
    BILLING_SETTINGS,
    BillingSettings,
    BillingSettingsChanged,
    settings_at_first,
)
from projections.reading import Reader
from schemas.codec import decode_event

_NEWEST: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'billing_settings' AND stream_id = $1 AND position <= $2
ORDER BY stream_version DESC LIMIT 1
"""
END: Final = 2**63 - 1


async def billing_settings(connection: Reader, tenant_id: str, *, known_at: int = END) -> BillingSettings:
    """A tenant's settings as of a position of the log. The connection sees all of the tenant's."""
    payload = await connection.fetchval(_NEWEST, tenant_id, known_at)
    if payload is None:
        return settings_at_first(tenant_id)
    event = decode_event(payload)
    assert isinstance(event, BillingSettingsChanged), "the stream has events of that type alone"
    return BILLING_SETTINGS.evolve(None, event)
