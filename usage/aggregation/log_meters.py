"""Meters as the log has them, read by the one function of the database that shows an aggregator their events."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from domain.metering.meter import METER, Meter
from infra.database import Connection
from schemas.codec import decode_event
from usage.aggregation.meters import MeterKey, MeterVersion

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LogMeters:
    """As new as the log: a meter is known from its first event on."""

    async def versions(self, connection: Connection, keys: Iterable[MeterKey]) -> list[tuple[str, MeterVersion]]:
        """All versions of these meters, each with its tenant."""
        named = list(keys)
        rows = await connection.fetch(
            "SELECT tenant_id, payload FROM usage.meter_events($1, $2)",
            [tenant_id for tenant_id, _ in named],
            [name for _, name in named],
        )
        meters: dict[tuple[str, str], Meter] = {}
        for row in rows:
            event = decode_event(row["payload"])
            key = row["tenant_id"], getattr(event, METER.id_field)
            meters[key] = METER.evolve(meters.get(key), event)
        return [(tenant_id, version) for (tenant_id, _), meter in meters.items() for version in versions_of(meter)]


def versions_of(meter: Meter) -> list[MeterVersion]:
    """A meter's versions as an aggregator counts by them."""
    return [
        MeterVersion(
            meter_id=meter.meter_id,
            code=meter.code,
            version=each.version,
            effective_us=0 if each.effective_from is None else _microseconds(each.effective_from),
            added_us=_microseconds(each.added_at),
            aggregation=meter.aggregation,
            value_property=each.terms.value_property,
            unique_property=each.terms.unique_property,
            group_by=each.terms.group_by,
            filters=tuple((condition.name, condition.values) for condition in each.terms.filters),
        )
        for each in meter.versions
    ]


def _microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
