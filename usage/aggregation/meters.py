"""What a meter makes of an event: by its version at the event's time.

An aggregator asks a `MeterSource` for the versions of the meters that it meets, and adopts new ones for a partition
from an offset on, in the transaction of the poll: which version counted which event is a function of the partition
alone, and a recount needs nobody's memory (docs/decisions/0124-usage-is-a-function-of-its-topic.md).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

from domain.metering.aggregation import Aggregation
from domain.metering.meter import SETTLING
from domain.metering.usage_value import InvalidValue, nanos
from infra.database import Connection
from usage.wire import WireEvent

SETTLING_US: Final = SETTLING // timedelta(microseconds=1)
GROUP_CHARS_MAX: Final = 255

MeterKey = tuple[str, str]
"""A tenant, and a meter's id or its code."""


class RefusedEvent(Exception):
    """An event that its meter cannot count; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterVersion:
    """One version of a meter. It counts the events from `effective_us` on (microseconds since 1970), of records that
    were appended a minute or more after `added_us`; the first version counts all others
    (`domain.metering.meter.Meter.version_for`).

    `value_property` is read where an event bears no value of its own; `unique_property` is what UNIQUE counts;
    `group_by` are the properties whose values part a series from the next; `filters` are the values that a property may
    have for the event to count.
    """

    meter_id: str
    code: str
    version: int
    effective_us: int
    added_us: int = 0
    aggregation: Aggregation
    value_property: str | None = None
    unique_property: str | None = None
    group_by: tuple[str, ...] = ()
    filters: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())

    def as_json(self) -> str:
        """As it is kept beside the offset from which it was adopted."""
        return json.dumps(asdict(self), sort_keys=True)


def version_from(text: str) -> MeterVersion:
    """The inverse of `as_json`."""
    kept = json.loads(text)
    return MeterVersion(
        **{
            **kept,
            "aggregation": Aggregation(kept["aggregation"]),
            "group_by": tuple(kept["group_by"]),
            "filters": tuple((name, tuple(values)) for name, values in kept["filters"]),
        }
    )


class MeterSource(Protocol):
    """Knows the meters of all tenants."""

    async def versions(self, connection: Connection, keys: Iterable[MeterKey]) -> list[tuple[str, MeterVersion]]:
        """All versions of these meters, each with its tenant; nothing for keys that name none."""
        ...


class FixedMeters:
    """Meters that are known beforehand: of tests and benchmarks, and of a recount."""

    def __init__(self, versions: Iterable[tuple[str, MeterVersion]] = ()) -> None:
        self.known = list(versions)

    async def versions(self, connection: Connection, keys: Iterable[MeterKey]) -> list[tuple[str, MeterVersion]]:
        wanted = set(keys)
        return [
            (tenant_id, version)
            for tenant_id, version in self.known
            if (tenant_id, version.meter_id) in wanted or (tenant_id, version.code) in wanted
        ]


class Adoption(NamedTuple):
    """A version that a partition counts by from an offset on."""

    tenant_id: str
    version: MeterVersion
    from_offset: int


class Meters:
    """The meters that one partition has adopted."""

    def __init__(self, adopted: Iterable[Adoption] = ()) -> None:
        self._ids: dict[MeterKey, str] = {}
        self._versions: dict[MeterKey, dict[int, MeterVersion]] = {}
        self._sorted: dict[MeterKey, tuple[MeterVersion, ...]] = {}
        for each in adopted:
            self.adopt(each.tenant_id, each.version)

    def lacks(self, tenant_id: str, version: MeterVersion) -> bool:
        """Whether the version would be new here."""
        return version.version not in self._versions.get((tenant_id, version.meter_id), ())

    def adopt(self, tenant_id: str, version: MeterVersion) -> None:
        """Count by it from now on."""
        key = (tenant_id, version.meter_id)
        self._ids[key] = self._ids[tenant_id, version.code] = version.meter_id
        self._versions.setdefault(key, {})[version.version] = version
        versions = sorted(self._versions[key].values(), key=lambda each: (each.effective_us, each.version))
        self._sorted[key] = tuple(versions)

    def of(self, tenant_id: str, meter: str) -> tuple[MeterVersion, ...]:
        """The versions of a meter that is named by its id or its code, by time; none where it is unknown."""
        meter_id = self._ids.get((tenant_id, meter))
        return () if meter_id is None else self._sorted[tenant_id, meter_id]

    def knows(self, tenant_id: str, meter: str) -> bool:
        return (tenant_id, meter) in self._ids


def version_at(versions: tuple[MeterVersion, ...], timestamp_us: int, appended_ms: int) -> MeterVersion:
    """The version that counts an event of this time, of a record that was appended then."""
    for version in reversed(versions[1:]):
        if version.effective_us <= timestamp_us and version.added_us + SETTLING_US <= appended_ms * 1000:
            return version
    return versions[0]


class Measured(NamedTuple):
    """What a meter takes from an event. `value` is in units of 10⁻⁹."""

    groups: tuple[str, ...]
    value: int
    member: str


NOTHING: Final = Measured((), 0, "")
NEEDS_VALUE: Final = frozenset(Aggregation) - {Aggregation.COUNT, Aggregation.UNIQUE}


def measured(version: MeterVersion, event: WireEvent) -> Measured | None:
    """What the meter counts of an event; None where its filters leave it out. Raises RefusedEvent."""
    properties = event.properties
    for name, accepted in version.filters:
        if properties.get(name) not in accepted:
            return None
    value = event.value
    if value is None and version.value_property is not None:
        value = _decimal(version.value_property, properties)
    if value is None:
        if version.aggregation in NEEDS_VALUE:
            raise RefusedEvent(f"the meter {version.code} needs a value, and the event has none")
        value = 0
    member = ""
    if version.aggregation is Aggregation.UNIQUE:
        member = _text(properties.get(version.unique_property or "", ""))
        if not member:
            raise RefusedEvent(f"the meter {version.code} counts {version.unique_property}, and the event has none")
    if not version.group_by:
        return Measured((), value, member)
    return Measured(tuple(_text(properties.get(name, "")) for name in version.group_by), value, member)


def _text(value: str) -> str:
    if len(value) > GROUP_CHARS_MAX or "\0" in value:
        raise RefusedEvent(
            f"a property to count or group by has at most {GROUP_CHARS_MAX} characters, none of them zero"
        )
    return value


def _decimal(name: str, properties: Mapping[str, str]) -> int | None:
    text = properties.get(name)
    if text is None:
        return None
    try:
        return nanos(text)
    except InvalidValue as error:
        raise RefusedEvent(f"{name} is no value: {error}") from None
