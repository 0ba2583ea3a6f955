"""Draws the time and the randomness that ids are made of; their form is `domain/kernel/identifiers.py`'s."""

import secrets
import time
from datetime import datetime
from typing import Final

from domain.kernel.identifiers import ALPHABET, EVENT, encode, uuid7

RANDOM_BITS: Final = 74
STEP_BACK_MAX_MS: Final = 1_000
# A block of event ids counts up from a random start; these low bits start at zero so that it cannot wrap round.
_BLOCK_BITS: Final = 24
_TAIL_BITS: Final = 30  # what may differ within a block, in whole pairs of characters
_TAIL_CHARS: Final = 6
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]


def new_id(prefix: str) -> str:
    """A fresh id of this prefix, e.g. `cus_`; ids sort by the millisecond they were made in."""
    return prefix + encode(uuid7(time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS)))


class EventIds:
    """Event ids in rising order. One draw of randomness serves a block of ids, which count up from it.

    Their time is when their batch was decided, which the log checks: an event is found by the time in its id.
    """

    def __init__(self) -> None:
        self._unix_ms = 0
        self._head = ""
        self._tail = 0

    def start_block(self, now: datetime) -> None:
        """Take the time, once per batch. Ids of one process keep rising over small steps back of its clock; after a
        large one they follow it, for nothing was written while it was wrong.
        """
        now_ms = int(now.timestamp() * 1000)
        if now_ms > self._unix_ms or now_ms < self._unix_ms - STEP_BACK_MAX_MS:
            self._unix_ms = now_ms
            start = uuid7(now_ms, secrets.randbits(RANDOM_BITS) >> _BLOCK_BITS << _BLOCK_BITS)
            self._head = EVENT + encode(start)[:-_TAIL_CHARS]
            self._tail = start & ((1 << _TAIL_BITS) - 1)

    def next(self) -> str:
        """The next event id of the block, `evt_…`."""
        tail = self._tail = self._tail + 1
        return f"{self._head}{_PAIRS[tail >> 20]}{_PAIRS[tail >> 10 & 0x3FF]}{_PAIRS[tail & 0x3FF]}"
