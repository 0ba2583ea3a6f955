"""A tenant's tax settings, as the log has them."""

from typing import Final

from domain.tax.settings import NOTHING_SAID, TAX_SETTINGS, TAX_SETTINGS_ID, TaxSettings
from projections.reading import Reader
from schemas.codec import decode_event

_EVENTS: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 ORDER BY stream_version
"""


async def tax_settings(connection: Reader, tenant_id: str) -> TaxSettings:
    """What the tenant has said of its taxes by now. The connection sees all of the tenant's."""
    settings: TaxSettings = NOTHING_SAID
    for row in await connection.fetch(_EVENTS, tenant_id, TAX_SETTINGS.name, TAX_SETTINGS_ID):
        settings = TAX_SETTINGS.evolve(settings, decode_event(row["payload"]))
    return settings
