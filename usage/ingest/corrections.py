"""Taking an event away again, and putting another in its place: records that say again what the event said."""

from collections.abc import Callable
from datetime import datetime, timedelta

from infra.settings import UsageSettings
from usage.fates import Fate
from usage.ingest.checking import check
from usage.ingest.intake import NothingTaken
from usage.ingest.known import Known
from usage.ingest.producer import UsageProducer
from usage.ingest.sent import SentEvent
from usage.lookup import CountedEvent, CountedEvents
from usage.wire import INSTEAD, VOID, WireEvent, encode_content, partition_of_customer


class NotCounted(Exception):
    """No event under this id counts for this customer."""


class IsVoided(Exception):
    """The event was taken away before, so there is nothing to put another in place of. `instead_id` is the id of what
    stands there already, empty where that is nothing.
    """

    def __init__(self, instead_id: str) -> None:
        self.instead_id = instead_id
        super().__init__(instead_id)


class SameId(Exception):
    """What is put in an event's place has an id of its own: the old one counts no more."""


class IdTaken(Exception):
    """Another event counts under the id of what is to come in an event's place: nothing would come there."""


class Corrections:
    """What one process takes back. Repeats change nothing: a void counts once, as an event does."""

    def __init__(
        self,
        counted: CountedEvents,
        known: Known,
        producer: UsageProducer,
        settings: UsageSettings,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._counted = counted
        self._known = known
        self._producer = producer
        self._settings = settings
        self._clock = clock

    async def void(self, tenant_id: str, customer_id: str, event_id: str) -> tuple[CountedEvent, Fate]:
        """Take it away; what became of it before says whether it was in the figures. Raises NotCounted, CannotLook,
        BrokersAway.
        """
        found = await self._there(tenant_id, customer_id, event_id)
        fate = await self._counted.fate(tenant_id, found)
        if not found.is_voided:
            await self._append(tenant_id, found, [_void_of(found.event)])
        return found._replace(is_voided=True), fate

    async def correct(self, tenant_id: str, customer_id: str, event_id: str, instead: SentEvent) -> WireEvent:
        """Put another in its place: both are one record, so neither is ever without the other. Of several corrections
        of one event the first alone counts; `usage.event_list` tells the others as conflicts. A repeat is one that
        finds its own event there, with this very content: it changes nothing. Any other one is refused, whatever counts
        under its id, since nothing of it would ever count.

        Raises NotCounted, IsVoided, SameId, IdTaken, NothingTaken (it says what is wrong with the other), CannotLook,
        BrokersAway.
        """
        if instead.id == event_id:
            raise SameId
        found = await self._there(tenant_id, customer_id, event_id)
        checked = await check(
            tenant_id,
            [instead],
            self._known,
            now=self._clock(),
            age_max=timedelta(days=self._settings.age_max_days),
            may_hide=True,
        )
        if checked.errors:
            raise NothingTaken(checked)
        ((event,),) = checked.by_partition.values()
        other = await self._counted.find(tenant_id, customer_id, instead.id)
        if other is not None:
            found = await self._there(tenant_id, customer_id, event_id)
        if found.is_voided:
            if other is None or found.instead_id != instead.id:
                raise IsVoided(found.instead_id)
            if not _is_same(other.event, event):
                raise IdTaken
            return event
        if other is not None:
            raise IdTaken
        await self._append(tenant_id, found, [_void_of(found.event), event._replace(kind=INSTEAD)])
        return event

    async def _there(self, tenant_id: str, customer_id: str, event_id: str) -> CountedEvent:
        found = await self._counted.find(tenant_id, customer_id, event_id)
        if found is None:
            raise NotCounted
        return found

    async def _append(self, tenant_id: str, found: CountedEvent, events: list[WireEvent]) -> None:
        number = partition_of_customer(tenant_id, found.event.customer, self._settings.partitions)
        await self._producer.append(tenant_id, {number: events}, original_appended_ms=found.appended_ms)


def _is_same(counted: WireEvent, event: WireEvent) -> bool:
    """Whether the content of an event that counts is this one's: what its checksum is of."""
    return encode_content(counted) == encode_content(event)


def _void_of(event: WireEvent) -> WireEvent:
    return event._replace(kind=VOID)
