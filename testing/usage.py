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
from usage.wire import EVENT, INSTEAD, VOID, WireEvent, partition_of_customer

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
    """Random events, with repeats, conflicts, voids, corrections and events that no meter takes."""

    def __init__(self, seed: int, *, customers: int, partitions: int) -> None:
        self._random = random.Random(seed)
        self._customers = [f"cus_{nth}" for nth in range(customers)]
        self._partitions = partitions
        self._sent: list[tuple[str, WireEvent]] = []
        self._corrections: list[tuple[str, tuple[WireEvent, WireEvent]]] = []
        self._made = 0

    def records(self, events: int, *, most: int = 20) -> list[Sent]:
        """Records with about so many events, in the order in which they are sent."""
        made: list[Sent] = []
        left = events
        while left > 0:
            by_place: dict[tuple[str, int], list[WireEvent]] = {}
            for _ in range(self._random.randint(1, most)):
                tenant_id, found = self._correction() if self._sent and self._random.random() < 0.05 else self._event()
                place = tenant_id, partition_of_customer(tenant_id, found[0].customer, self._partitions)
                by_place.setdefault(place, []).extend(found)
                left -= len(found)
            made += [Sent(*place, tuple(events)) for place, events in by_place.items()]
        return made

    def _correction(self) -> tuple[str, tuple[WireEvent, ...]]:
        """A void and what stands in its place: of one event several times, under one id or several, or sent again."""
        if self._corrections and self._random.random() < 0.5:
            tenant_id, (void, instead) = self._random.choice(self._corrections)
            if self._random.random() < 0.5:
                return tenant_id, (void, instead)
        else:
            tenant_id, event = self._random.choice(self._sent)
            void = event._replace(kind=VOID)
        instead = self._fresh()._replace(kind=INSTEAD, customer=void.customer)
        if self._random.random() < 0.05:
            return tenant_id, (instead,)
        self._sent.append((tenant_id, instead._replace(kind=EVENT)))
        self._corrections.append((tenant_id, (void, instead)))
        return tenant_id, (void, instead)

    def _event(self) -> tuple[str, tuple[WireEvent, ...]]:
        chance = self._random.random()
        if self._sent and chance < 0.15:  # sent again
            tenant_id, event = self._random.choice(self._sent)
            return tenant_id, (event,)
        if self._sent and chance < 0.19:  # the same id with other content
            tenant_id, event = self._random.choice(self._sent)
            return tenant_id, (event._replace(timestamp_us=event.timestamp_us + 1),)
        if self._sent and chance < 0.27:
            tenant_id, event = self._random.choice(self._sent)
            return tenant_id, (event._replace(kind=VOID),)
        tenant_id, event = self._random.choice(TENANTS), self._fresh()
        self._sent.append((tenant_id, event))
        return tenant_id, (event,)

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
    replaced_by: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """By tenant, customer and id of what was taken away, the id that stands in its place; empty where none does."""
    conflicts: int = 0
    duplicates: int = 0
    refused: int = 0
    left_out: int = 0
    became: list[tuple[str, WireEvent, str]] = field(default_factory=list)
    """Every event in the order in which it was sent, with its tenant and what became of it."""
    parts: dict[tuple[str, str, str, int, tuple[str, ...], int], list[PartialAggregate]] = field(default_factory=dict)
    """By tenant, customer, meter, version, group and bucket."""

    def take(self, sent: Sent) -> None:
        """Count a record."""
        for nth, event in enumerate(sent.events):
            void = sent.events[nth - 1] if nth else event
            instead = sent.events[nth + 1] if nth + 1 < len(sent.events) else event
            beside = void if event.kind == INSTEAD else instead
            is_pair = {event.kind, beside.kind} == {VOID, INSTEAD} and event.customer == beside.customer
            before = self._told()
            self._take(sent.tenant_id, event, beside.id if is_pair else "")
            told = (what for (what, one), (_, other) in zip(self._told(), before, strict=True) if one > other)
            self.became.append((sent.tenant_id, event, next(told, "counted")))

    def _told(self) -> list[tuple[str, int]]:
        counts = self.refused, self.conflicts, self.duplicates, self.left_out
        return list(zip(("refused", "conflict", "duplicate", "left_out"), counts, strict=True))

    def _take(self, tenant_id: str, event: WireEvent, beside: str) -> None:
        """`beside`: the id of the other one, where a void and an event in its place stand side by side."""
        versions = tuple(
            version
            for owner, version in self.meters
            if owner == tenant_id and event.meter in (version.meter_id, version.code)
        )
        original = self.counted.get((tenant_id, event.customer, EVENT, event.id))
        if not versions or (event.kind == VOID and (original is None or _content(original) != _content(event))):
            self.refused += 1
            return
        kind = VOID if event.kind == VOID else EVENT
        key = tenant_id, event.customer, kind, event.id
        known = self.counted.get(key)
        placed = self.replaced_by.get((tenant_id, event.customer, beside)) if event.kind == INSTEAD else event.id
        if known is None and placed is None:
            self.refused += 1
            return
        version = version_at(versions, event.timestamp_us, NOW_MS)
        try:
            taken = measured(version, event)
        except Exception:
            self.refused += 1
            return
        if known is None and placed != event.id:
            self.duplicates += 1
            self.conflicts += 1
            return
        if known is not None:
            self.duplicates += 1
            is_other = event.kind == VOID and self.replaced_by[tenant_id, event.customer, event.id] != beside
            self.conflicts += is_other or _content(known) != _content(event)
            return
        self.counted[key] = event
        if event.kind == VOID:
            self.replaced_by[tenant_id, event.customer, event.id] = beside
        if taken is None:
            self.left_out += 1
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
