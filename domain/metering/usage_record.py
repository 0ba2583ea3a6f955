"""Usage on its way: what one record of the topic usage.events.v1 holds.

The classes are what the topic's schema is made from; `usage.wire` reads and writes them without making objects of them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class UsageKind(StrEnum):
    """Whether an event counts, takes one away that counted, or counts in the place of the one that the void right
    before it in its record takes away: only if no other void has.
    """

    EVENT = "event"
    VOID = "void"
    INSTEAD = "instead"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredEvent:
    """One thing that was used, or the void of one: that says again all that the event said. It is told apart by tenant,
    customer, kind and id, and counts once however often it comes. `meter` is the meter's id or its code. `value` is a
    whole number of 10⁻⁹, as text of digits where 64 bits do not hold it, null where the event has none.
    `properties` are what meters filter, group and count by.
    """

    id: str
    kind: UsageKind
    customer: str
    meter: str
    timestamp: datetime
    value: int | str | None
    properties: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecorded:
    """Events of one tenant, whose id is in the header `tenant`. Each stands in the partition of murmur2 of
    `tenant:customer`.
    """

    events: tuple[MeteredEvent, ...]
