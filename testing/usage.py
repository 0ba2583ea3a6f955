"""Usage for tests: meters of every aggregation, random events with all that goes wrong, and a plain model of both.

The model keeps every event that counts and asks `domain.metering.aggregation`; it shares nothing with the aggregator
but the meters' own rule of what they take from an event.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from domain.metering.aggregation import Aggregation, PartialAggregate, UsageEvent, aggregate, merge, void
from domain.metering.usage_value import NANOS, units
from usage.aggregation.fold import BUCKET_US
from usage.aggregation.meters import MeterVersion, measured, version_at
from usage.wire import EVENT, VOID, WireEvent, partition_of_customer

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
START_US: Final = 1_780_000_200_000_000  # a quarter hour's beginning
SPAN_US: Final = 4 * 3_600_000_000
NOW_MS: Final = START_US // 1000
"""Versions of these meters were added long before."""
REVISED_US: Final = START_US + SPAN_US // 2
TENANTS: Final = ("acme", "bolt")
REGIONS: Final = ("eu", "us", "ap")


def meter(aggregation: Aggregation, **changes: object) -> MeterVersion:
    """The first version of a meter of this aggregation."""
    plain: dict[str, object] = {"value_property": None, "unique_property": None}
    if aggregation is Aggregation.UNIQUE:
        plain["unique_property"] = "user"
    return MeterVersion(
        **{
            "meter_id": f"mtr_{aggregation.value}",
            "code": aggregation.value,
            "version": 1,
            "effective_us": 0,
            "aggregation": aggregation,
            **plain,
            **changes,
        }  # type: ignore[arg-type]  # a test names fields that there are
    )


METERS: Final[tuple[MeterVersion, ...]] = (
    *(meter(aggregation) for aggregation in Aggregation),
    meter(Aggregation.SUM, meter_id="mtr_by_region", code="by_region", group_by=("region",)),
    meter(Aggregation.COUNT, meter_id="mtr_eu", code="eu", filters=(("region", ("eu", "ap")),)),
    meter(Aggregation.SUM, meter_id="mtr_revised", code="revised", filters=(("region", ("eu",)),)),
    meter(
        Aggregation.SUM,
        meter_id="mtr_revised",
        code="revised",
        version=2,
        effective_us=REVISED_US,
        group_by=("region",),
    ),
    meter(Aggregation.TIME_WEIGHTED_SUM, meter_id="mtr_disks", code="disks", group_by=("region",)),
    meter(
        Aggregation.TIME_WEIGHTED_SUM,
        meter_id="mtr_disks",
        code="disks",
        version=2,
        effective_us=REVISED_US,
        group_by=("region",),
        value_property="gigabytes",
    ),
    meter(Aggregation.LATEST, meter_id="mtr_seats", code="seats", group_by=("region",)),
)
"""Every aggregation, meters that group, one that filters, and two that were revised: levels go on from one version into
the next.
"""


def tenants_meters() -> list[tuple[str, MeterVersion]]:
    """Both tenants have the same."""
    return [(tenant_id, version) for tenant_id in TENANTS for version in METERS]


class Sent(NamedTuple):
    """One record's worth: events of a tenant for one partition."""

    tenant_id: str
    partition: int
    events: tuple[WireEvent, ...]


class Stream:
    """Random events, with repeats, conflicts, voids and events that no meter takes."""

    def __init__(self, seed: int, *, customers: int, partitions: int) -> None:
        self._random = random.Random(seed)
        self._customers = [f"cus_{nth}" for nth in range(customers)]
        self._partitions = partitions
        self._sent: list[tuple[str, WireEvent]] = []
        self._made = 0

    def records(self, events: int, *, most: int = 20) -> list[Sent]:
        """Records with about so many events, in the order in which they are sent."""
        made: list[Sent] = []
        left = events
        while left > 0:
            by_place: dict[tuple[str, int], list[WireEvent]] = {}
            for _ in range(self._random.randint(1, most)):
                tenant_id, event = self._event()
                place = tenant_id, partition_of_customer(tenant_id, event.customer, self._partitions)
                by_place.setdefault(place, []).append(event)
                left -= 1
            made += [Sent(*place, tuple(found)) for place, found in by_place.items()]
        return made

    def _event(self) -> tuple[str, WireEvent]:
        chance = self._random.random()
        if self._sent and chance < 0.15:  # sent again
            return self._random.choice(self._sent)
        if self._sent and chance < 0.19:  # the same id with other content
            tenant_id, event = self._random.choice(self._sent)
            return tenant_id, event._replace(timestamp_us=event.timestamp_us + 1)
        if self._sent and chance < 0.27:
            tenant_id, event = self._random.choice(self._sent)
            return tenant_id, event._replace(kind=VOID)
        tenant_id, event = self._random.choice(TENANTS), self._fresh()
        self._sent.append((tenant_id, event))
        return tenant_id, event

    def _fresh(self) -> WireEvent:
        self._made += 1
        version = self._random.choice(METERS)
        code = "unknown" if self._random.random() < 0.01 else self._random.choice((version.code, version.meter_id))
        value = None if self._random.random() < 0.02 else self._value()
        properties = {"region": self._random.choice(REGIONS)}
        if self._random.random() < 0.95:
            properties["user"] = f"user {self._random.randint(1, 12)}"
        return WireEvent(
            id=f"{self._random.choice('abc')}{self._made}",
            kind=EVENT,
            customer=self._random.choice(self._customers),
            meter=code,
            timestamp_us=START_US + self._random.randrange(SPAN_US),
            value=value,
            properties=properties,
        )

    def _value(self) -> int:
        """Mostly few different ones, and some from 10⁻⁹ to 10²⁰ and beyond 64 bits."""
        if self._random.random() < 0.8:
            return self._random.randint(-5, 50) * NANOS // 4
        return self._random.choice((1, 1, -1)) * self._random.randint(1, 10 ** self._random.randint(0, 29))


@dataclass
class Model:
    """What counts, by the plainest means. Records come in the order of each partition."""

    meters: Sequence[tuple[str, MeterVersion]]
    counted: dict[tuple[str, str, str, str], WireEvent] = field(default_factory=dict)
    """By tenant, customer, kind and id the first event that counted."""
    conflicts: int = 0
    duplicates: int = 0
    refused: int = 0
    parts: dict[tuple[str, str, str, int, tuple[str, ...], int], list[PartialAggregate]] = field(default_factory=dict)
    """By tenant, customer, meter, version, group and bucket."""

    def take(self, sent: Sent) -> None:
        """Count a record."""
        for event in sent.events:
            self._take(sent.tenant_id, event)

    def _take(self, tenant_id: str, event: WireEvent) -> None:
        versions = tuple(
            version
            for owner, version in self.meters
            if owner == tenant_id and event.meter in (version.meter_id, version.code)
        )
        original = self.counted.get((tenant_id, event.customer, EVENT, event.id))
        if not versions or (event.kind == VOID and (original is None or _content(original) != _content(event))):
            self.refused += 1
            return
        version = version_at(versions, event.timestamp_us, NOW_MS)
        try:
            taken = measured(version, event)
        except Exception:
            self.refused += 1
            return
        key = tenant_id, event.customer, event.kind, event.id
        known = self.counted.get(key)
        if known is not None:
            self.duplicates += 1
            self.conflicts += _content(known) != _content(event)
            return
        self.counted[key] = event
        if taken is None:
            return
        usage = UsageEvent(
            event_id=event.id,
            at=EPOCH + timedelta(microseconds=event.timestamp_us),
            value=units(taken.value),
            key=taken.member,
        )
        adds = void(version.aggregation, usage) if event.kind == VOID else aggregate(version.aggregation, [usage])
        bucket = event.timestamp_us // BUCKET_US
        place = tenant_id, event.customer, version.meter_id, version.version, taken.groups, bucket
        self.parts.setdefault(place, []).append(adds)

    def merged(self) -> dict[tuple[str, str, str, int, tuple[str, ...], int], PartialAggregate]:
        """What each bucket of each series comes to; those that came to nothing are left out."""
        found = {place: merge(*parts) for place, parts in self.parts.items()}
        return {place: each for place, each in found.items() if each.count or each.total or each.tallies}


def _content(event: WireEvent) -> tuple[object, ...]:
    return event.meter, event.timestamp_us, event.value, event.properties


def counted_by(meters: Sequence[tuple[str, MeterVersion]], records: Iterable[Sent]) -> Model:
    """The model of these records."""
    model = Model(meters)
    for sent in records:
        model.take(sent)
    return model
