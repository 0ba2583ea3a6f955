"""The ids that a partition has counted, each with its checksum, day and place, in the order of their places: those that
blocks hold, and those that a recount comes to.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from usage.aggregation.dedupe import ENTRY_BYTES, OFFSET_MASK, PLACE_BYTES, REMEMBERED_DAYS
from usage.aggregation.fold import Block
from usage.aggregation.upkeep import BLOCK_IDS

_NTH_BITS: Final = 16


class IdsDiffer(NamedTuple):
    """At which offset ids begin to differ, and how many there are at this one and behind it."""

    offset: int
    kept: int
    counted: int


class IdPlaces:
    """Ids, 26 bytes of each. They are added in the order of their records."""

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._places: list[Any] = []
        self._days: list[Any] = []

    def add(self, block: Block) -> None:
        """A block that says of each id where it stands."""
        entries = np.frombuffer(bytes(block.entries), dtype="<u8").reshape(-1, ENTRY_BYTES // 8)
        raw = np.frombuffer(bytes(block.places), dtype=np.uint8).reshape(-1, PLACE_BYTES)
        low = raw[:, :4].copy().view("<u4")[:, 0].astype(np.int64)
        nth = raw[:, 4:].copy().view("<u2")[:, 0].astype(np.int64)
        offsets = block.first_offset + (low - block.first_offset & OFFSET_MASK)
        self._entries.append(entries)
        self._places.append(offsets << _NTH_BITS | nth)
        self._days.append(np.full(len(entries), block.day, dtype=np.int32))

    @property
    def remembered_from(self) -> int:
        """The first offset of which ids are remembered still: what was forgotten may have been removed."""
        found = self.since(0)
        if not len(found.days):
            return 0
        return int(found.places[found.days >= found.days.max() - REMEMBERED_DAYS][0]) >> _NTH_BITS

    def before(self, offset: int) -> Iterator[tuple[bytes, int]]:
        """The entries of the records before an offset, some at a time, each with their day."""
        for entries, places, days in zip(self._entries, self._places, self._days, strict=True):
            chosen = places < offset << _NTH_BITS
            if chosen.any():
                yield entries[chosen].astype("<u8").tobytes(), int(days[0])

    def since(self, offset: int) -> "_Ids":
        """Those of the records from an offset on."""
        if not self._places:
            return _Ids(np.empty(0, np.int64), np.empty((0, 2), np.uint64), np.empty(0, np.int32))
        places = np.concatenate(self._places)
        chosen = places >= offset << _NTH_BITS
        return _Ids(places[chosen], np.concatenate(self._entries)[chosen], np.concatenate(self._days)[chosen])


class _Ids(NamedTuple):
    places: Any
    entries: Any
    days: Any


def differ(kept: IdPlaces, counted: IdPlaces, *, since: int) -> IdsDiffer | None:
    """Whether the ids of the records from an offset on are others than were counted, of those that are remembered."""
    since = max(since, counted.remembered_from)
    one, other = kept.since(since), counted.since(since)
    length = min(len(one.places), len(other.places))
    unlike = (
        (one.places[:length] != other.places[:length])
        | (one.entries[:length] != other.entries[:length]).any(axis=1)
        | (one.days[:length] != other.days[:length])
    )
    at = int(unlike.argmax()) if unlike.any() else length
    left = [places[at:] for places in (one.places, other.places)]
    if not any(len(places) for places in left):
        return None
    offset = min(int(places[0]) for places in left if len(places)) >> _NTH_BITS
    return IdsDiffer(offset, *(len(places) for places in left))


def blocks(ids: IdPlaces, *, since: int) -> Iterator[Block]:
    """The blocks that hold the ids of the records from an offset on: each of one day, and of whole records."""
    found = ids.since(since)
    offsets = found.places >> _NTH_BITS
    start = 0
    while start < len(offsets):
        end = min(start + BLOCK_IDS, len(offsets))
        others = np.flatnonzero(found.days[start:end] != found.days[start])
        end = start + int(others[0]) if len(others) else end
        if end < len(offsets) and offsets[end] == offsets[end - 1]:
            end = int(np.searchsorted(offsets, offsets[end], side="right"))  # a record's ids stay together
        part = slice(start, end)
        places = np.zeros((end - start, PLACE_BYTES), dtype=np.uint8)
        places[:, :4] = (offsets[part] & OFFSET_MASK).astype("<u4").view(np.uint8).reshape(-1, 4)
        places[:, 4:] = (found.places[part] & (1 << _NTH_BITS) - 1).astype("<u2").view(np.uint8).reshape(-1, 2)
        yield Block(
            int(offsets[start]),
            int(offsets[end - 1]) + 1,
            int(found.days[start]),
            bytearray(found.entries[part].astype("<u8").tobytes()),
            bytearray(places.tobytes()),
        )
        start = end
