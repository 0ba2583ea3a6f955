"""By which versions of meters a partition counts: what the log tells of them is what counts, from where on is kept."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast

from infra.database import Connection as Direct
from usage.aggregation.log_meters import LogMeters
from usage.aggregation.meters import Adoption
from usage.partials import Connection

VersionKey = tuple[str, str, int]
"""Tenant, meter's id and version."""

_MEND: Final = """
UPDATE usage.adopted_meters SET rule = $5 WHERE (partition, tenant_id, meter_id, version) = ($1, $2, $3, $4)
"""


class Adopted(NamedTuple):
    """The adoptions to count by; those whose rule is kept otherwise, each as it is kept and as the log tells it; and
    the versions by which something was counted, though nobody knows from where on.
    """

    adoptions: Sequence[Adoption]
    altered: Sequence[tuple[Adoption, Adoption]]
    lost: Sequence[VersionKey]


async def adopted(connection: Connection, kept: Sequence[Adoption], series: Iterable[VersionKey]) -> Adopted:
    """Of a partition. A meter that the log does not know is taken as it is kept. `series`: of what is summed."""
    named = {(each.tenant_id, each.version.meter_id) for each in kept}
    told = {
        (tenant_id, version.meter_id, version.version): version
        for tenant_id, version in await LogMeters().versions(cast("Direct", connection), named)
    }
    adoptions = [each._replace(version=told.get(_key(each), each.version)) for each in kept]
    altered = [pair for pair in zip(kept, adoptions, strict=True) if pair[0] != pair[1]]
    return Adopted(adoptions, altered, sorted(set(series) - {_key(each) for each in kept}))


async def mend_rule(connection: Connection, partition: int, adoption: Adoption) -> None:
    """Keep the rule as the log tells it."""
    await connection.execute(_MEND, partition, *_key(adoption), adoption.version.as_json())


def _key(adoption: Adoption) -> VersionKey:
    return adoption.tenant_id, adoption.version.meter_id, adoption.version.version
