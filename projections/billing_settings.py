"""A tenant's billing settings, and the country of who sells, as the log has them."""

from typing import Final

from domain.invoicing.billing_settings import (
    AT_FIRST,
    BILLING_SETTINGS,
    BILLING_SETTINGS_ID,
    BillingSettings,
    BillingSettingsChanged,
)
from domain.tax.settings import TAX_SETTINGS, TAX_SETTINGS_ID, TaxSettingsChanged
from projections.reading import Reader
from schemas.codec import decode_event

_NEWEST: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 AND event_type = $4 AND position <= $5
ORDER BY stream_version DESC LIMIT 1
"""
END: Final = 2**63 - 1


async def billing_settings(connection: Reader, tenant_id: str, *, known_at: int = END) -> BillingSettings:
    """A tenant's settings as of a position of the log. The connection sees all of the tenant's."""
    stream = BILLING_SETTINGS.name, BILLING_SETTINGS_ID, "billing_settings.changed"
    payload = await connection.fetchval(_NEWEST, tenant_id, *stream, known_at)
    if payload is None:
        return AT_FIRST
    event = decode_event(payload)
    assert isinstance(event, BillingSettingsChanged), "the stream has events of that type alone"
    return BILLING_SETTINGS.evolve(None, event)


async def seller_country(connection: Reader, tenant_id: str, *, known_at: int = END) -> str | None:
    """Where the tenant was established as of a position of the log, as its tax settings say it."""
    stream = TAX_SETTINGS.name, TAX_SETTINGS_ID, "tax_settings.changed"
    payload = await connection.fetchval(_NEWEST, tenant_id, *stream, known_at)
    if payload is None:
        return None
    event = decode_event(payload)
    assert isinstance(event, TaxSettingsChanged), "that is its type"
    return event.seller_country
