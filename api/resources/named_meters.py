"""Meters that a path or a query names by their id or their code."""

import re
from typing import Final

from api.http.call import Call
from api.resources.meters import CODE_PATTERN
from domain.kernel.identifiers import METER as PREFIX
from domain.kernel.identifiers import is_id
from domain.metering.meter import CODE_CLAIM, METER, Meter, MeterNotFound
from projections.current import current
from projections.models import meters
from projections.reading import Reader

_CODE: Final = re.compile(CODE_PATTERN[1:-1])
_BY_CODE: Final = "SELECT owner FROM log.claims WHERE tenant_id = $1 AND kind = $2 AND value = $3"


async def meter_named(call: Call, named: str) -> Meter:
    """The meter of that id or code, as new as the log. Raises MeterNotFound."""
    async with call.parts.reader.of(call.tenant_id) as reader:
        meter_id = named if is_id(named, PREFIX) else None
        if meter_id is None and _CODE.fullmatch(named):
            meter_id = await reader.fetchval(_BY_CODE, call.tenant_id, CODE_CLAIM, named)
        found = None if meter_id is None else await current_meter(reader, call.tenant_id, meter_id)
    if found is None:
        raise MeterNotFound(meter=named)
    return found


async def current_meter(reader: Reader, tenant_id: str, meter_id: str) -> Meter | None:
    """The meter of that id, as new as the log."""
    row = await current(reader, meters.TABLE, METER, tenant_id, meter_id)
    return None if row is None else row.state
