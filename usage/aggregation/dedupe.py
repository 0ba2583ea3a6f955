"""Which ids a partition has counted: an exact set in memory, rebuilt from its blocks in PostgreSQL.

An id is 96 bits of BLAKE2b of tenant, customer, kind and id; beside it stand 32 bits of its content's checksum, by
which a repeat is told from another event under the same id. Entries are 16 bytes in an open-addressed table of numpy
arrays, looked up and added many at a time. An id is remembered for `REMEMBERED_DAYS` of the broker's time, which a
recount reads from the records: so it forgets where the aggregator forgot.
"""

from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt

ID_BYTES: Final = 12
ENTRY_BYTES: Final = 16
PLACE_BYTES: Final = 6
"""In which it is kept where an id stands: 4 of its record's offset modulo 2 ** 32, as fewer records are of one day, and
2 of which event of the record it is.
"""
REMEMBERED_DAYS: Final = 70
"""No longer than the topic keeps records: what a recount cannot read must not have been remembered."""

START_SLOTS: Final = 1 << 14
LOAD_MAX: Final = 0.6
GROWN_LOAD_MAX: Final = 0.45
"""After it has grown: so it does not grow again at once where a part was forgotten."""
ADD_MAX: Final = 1 << 18
"""Entries that are added at a time when blocks are loaded."""
NEVER: Final = -1
OFFSET_MASK: Final = (1 << 32) - 1
DAY_MS: Final = 86_400_000
_LOW: Final = np.uint64(0xFFFF_FFFF)
_32: Final = np.uint64(32)

Entries = npt.NDArray[np.uint64]  # two numbers an entry
Days = npt.NDArray[np.int32]


def id_prefix(tenant_id: str, customer_id: str, kind: str) -> bytes:
    """What is hashed of an event before its own id; none of the parts holds a zero byte."""
    return b"\0".join((tenant_id.encode(), customer_id.encode(), kind.encode(), b""))


def id_hash(prefix: bytes, event_id: str) -> bytes:
    """The twelve bytes that an event is told apart by."""
    return blake2b(prefix + event_id.encode(), digest_size=ID_BYTES).digest()


def entry(hashed: bytes, checksum: int) -> bytes:
    """An id with its content's checksum, as a block holds it."""
    return hashed + checksum.to_bytes(4, "little")


def place_of(offset: int, nth: int) -> bytes:
    """Where an id stands, as a block holds it."""
    return (nth << 32 | offset & OFFSET_MASK).to_bytes(PLACE_BYTES, "little")


def place_in(place: bytes, first_offset: int) -> tuple[int, int]:
    """The inverse of `place_of`, in a block that begins with an offset."""
    number = int.from_bytes(place, "little")
    return first_offset + ((number & OFFSET_MASK) - first_offset & OFFSET_MASK), number >> 32


def day_of(timestamp_ms: int) -> int:
    """The day of an append, since 1970 in UTC."""
    return timestamp_ms // DAY_MS


def entries_of(block: bytes) -> Entries:
    """A block's entries, one a row."""
    return np.frombuffer(block, dtype="<u8").reshape(-1, 2).astype(np.uint64, copy=False)


class SeenIds:
    """The ids of one partition."""

    def __init__(self, slots: int = START_SLOTS) -> None:
        self._least_slots = slots
        self._make(slots)

    def _make(self, slots: int) -> None:
        self._first: Any = np.zeros(slots, dtype=np.uint64)
        self._second: Any = np.zeros(slots, dtype=np.uint64)
        self._days: Any = np.zeros(slots, dtype=np.int32)
        self.count = 0

    @property
    def memory_bytes(self) -> int:
        """What the table takes."""
        return int(self._first.nbytes + self._second.nbytes + self._days.nbytes)

    def look_up(self, entries: Entries) -> tuple[Days, npt.NDArray[np.uint64]]:
        """For each entry the day on which its id was added (NEVER: it was not), and the checksum it was added with."""
        first, second = _keys(entries)
        slots = self._find(first, second)
        found = self._first[slots] != 0
        return np.where(found, self._days[slots], NEVER), self._second[slots] >> _32

    def add(self, entries: Entries, day: int) -> None:
        """Remember ids, each of them once in `entries`; one that is there already gets the new day and checksum."""
        if len(self._first) * LOAD_MAX < self.count + len(entries):
            self._grow(len(entries), day)
        first, second = _keys(entries)
        while len(first):
            slots = self._find(first, second)
            self.count += len(np.unique(slots[self._first[slots] == 0]))
            # Several new ids may have found one free slot: the last one has it, and the others look again.
            self._first[slots], self._second[slots], self._days[slots] = first, second, day
            lost = (self._first[slots] != first) | ((self._second[slots] ^ second) & _LOW != 0)
            first, second = first[lost], second[lost]

    def load(self, block: bytes, day: int) -> None:
        """Remember a block's ids."""
        entries = entries_of(block)
        for start in range(0, len(entries), ADD_MAX):
            self.add(entries[start : start + ADD_MAX], day)

    def _find(self, first: Entries, second: Entries) -> npt.NDArray[np.int64]:
        """The slot of each id: where it is, or the free one where it would be."""
        mask = np.uint64(len(self._first) - 1)
        slots = ((first ^ first >> _32) & mask).astype(np.int64)
        looking = np.arange(len(first))
        while len(looking):
            at = slots[looking]
            there = self._first[at]
            same = (there == first[looking]) & ((self._second[at] ^ second[looking]) & _LOW == 0)
            looking = looking[~(same | (there == 0))]
            slots[looking] = (slots[looking] + 1) & int(mask)
        return slots

    def _grow(self, added: int, day: int) -> None:
        """A table with room for more, without what is forgotten by this day: it is no larger than what is remembered
        needs.
        """
        kept = (self._first != 0) & (day - self._days <= REMEMBERED_DAYS)
        first, second, days = self._first[kept], self._second[kept], self._days[kept]
        slots = self._least_slots
        while slots * GROWN_LOAD_MAX < len(first) + added:
            slots *= 2
        self._make(slots)
        self.count = len(first)
        while len(first):
            at = self._find(first, second)
            self._first[at], self._second[at], self._days[at] = first, second, days
            lost = (self._first[at] != first) | ((self._second[at] ^ second) & _LOW != 0)
            first, second, days = first[lost], second[lost], days[lost]


def _keys(entries: Entries) -> tuple[Entries, Entries]:
    """The two numbers of each entry; 0 marks a free slot, so the first is never 0."""
    first = entries[:, 0].copy()
    first[first == 0] = 1
    return first, entries[:, 1]
