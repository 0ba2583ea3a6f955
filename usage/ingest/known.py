"""Which meters and customers there are, remembered for a while, so that most events are checked without asking anybody.

What is found is believed for some seconds; what is not found is asked for again by every request that names it, so a
meter or a customer is known as soon as it is made. Each tenant's are kept apart, and so many of all of them together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from domain.metering.meter import Meter, MeterTerms
from usage.wire import partition_of_customer

ENTRIES_MAX: Final = 200_000


class CustomerFacts(NamedTuple):
    """What there is to know of a customer; `clock_id` is their test clock's."""

    customer_id: str
    clock_id: str | None
    is_deleted: bool


class Source(Protocol):
    """Where it is known which meters and customers there are, as new as the log is."""

    async def meters(self, tenant_id: str, codes: Collection[str]) -> Mapping[str, Meter]:
        """Those with these codes, by code; archived ones among them."""
        ...

    async def customers(self, tenant_id: str, customer_ids: Collection[str]) -> Sequence[CustomerFacts]:
        """Those with these ids, deleted ones among them."""
        ...

    async def clocks(self, tenant_id: str, clock_ids: Collection[str]) -> Mapping[str, datetime]:
        """What time it is on these test clocks, by their ids."""
        ...


class KnownMeter(NamedTuple):
    """A meter as events are checked against it. `terms` are those of the only version, where there is one."""

    meter_id: str
    is_archived: bool
    terms: MeterTerms | None
    meter: Meter

    def terms_at(self, at: datetime, now: datetime) -> MeterTerms:
        """What is read of an event of that time, recorded now."""
        return self.meter.version_for(at, now).terms if self.terms is None else self.terms


class KnownCustomer(NamedTuple):
    """A customer as events are checked against it."""

    partition: int
    clock_id: str | None
    is_deleted: bool


Entry = TypeVar("Entry")


@dataclass(slots=True)
class _Kept(Generic[Entry]):
    """Entries of one tenant, and until when they are believed."""

    entries: dict[str, Entry]
    until_s: float


class _Remembered(Generic[Entry]):
    """Entries by tenant and name. All of a tenant's are forgotten together, so a look costs one comparison."""

    def __init__(self, lasts_s: float, clock: Callable[[], float]) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._tenants: dict[str, _Kept[Entry]] = {}
        self._size = 0

    def of(self, tenant_id: str) -> dict[str, Entry]:
        """What is remembered of a tenant."""
        kept = self._tenants.get(tenant_id)
        now = self._clock()
        if kept is None or now >= kept.until_s:
            if kept is not None:
                self._size -= len(kept.entries)
            kept = self._tenants[tenant_id] = _Kept({}, now + self._lasts_s)
        return kept.entries

    def add(self, entries: dict[str, Entry], found: Mapping[str, Entry]) -> None:
        """Remember more of the tenant whose entries these are."""
        if self._size + len(found) > ENTRIES_MAX:
            self._tenants.clear()
            self._size = 0
        entries.update(found)
        self._size += len(found)


class Known:
    """What one process remembers. `meters` and `customers` hold at least those that are asked for, if there are any."""

    def __init__(
        self,
        source: Source,
        *,
        partitions: int,
        meters_last_s: float,
        customers_last_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._partitions = partitions
        self._meters = _Remembered[KnownMeter](meters_last_s, clock)
        self._customers = _Remembered[KnownCustomer](customers_last_s, clock)

    async def meters(self, tenant_id: str, codes: Collection[str]) -> Mapping[str, KnownMeter]:
        """A tenant's meters by code."""
        entries = self._meters.of(tenant_id)
        unknown = {code for code in codes if code not in entries}
        if unknown:
            found = await self._source.meters(tenant_id, unknown)
            self._meters.add(entries, {code: _known(meter) for code, meter in found.items()})
        return entries

    async def customers(self, tenant_id: str, customer_ids: Collection[str]) -> Mapping[str, KnownCustomer]:
        """A tenant's customers by id."""
        entries = self._customers.of(tenant_id)
        unknown = {customer_id for customer_id in customer_ids if customer_id not in entries}
        if unknown:
            found = {
                each.customer_id: KnownCustomer(
                    partition_of_customer(tenant_id, each.customer_id, self._partitions), each.clock_id, each.is_deleted
                )
                for each in await self._source.customers(tenant_id, unknown)
            }
            self._customers.add(entries, found)
        return entries

    async def clocks(self, tenant_id: str, clock_ids: Collection[str]) -> Mapping[str, datetime]:
        """What time it is on test clocks: asked each time, as they move whenever somebody says so."""
        return await self._source.clocks(tenant_id, clock_ids) if clock_ids else {}


def _known(meter: Meter) -> KnownMeter:
    only = meter.versions[0].terms if len(meter.versions) == 1 else None
    return KnownMeter(meter.meter_id, meter.archived_at is not None, only, meter)
