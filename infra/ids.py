"""Draws the time and the randomness that ids are made of; their form is `domain/identifiers.py`'s."""

import secrets
import time
from typing import Final

from domain.identifiers import EVENT, encode, uuid7

RANDOM_BITS: Final = 74
# A block of event ids counts up from a random start; these low bits start at zero so that it cannot wrap round.
_BLOCK_BITS: Final = 24


def new_id(prefix: str) -> str:
    """A fresh id of this prefix, e.g. `cus_`; ids sort by the millisecond they were made in."""
    return prefix + encode(uuid7(time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS)))


class EventIds:
    """Event ids in rising order. One draw of randomness serves a block of ids, which count up from it."""

    def __init__(self) -> None:
        self._unix_ms = 0
        self._random = 0

    def start_block(self) -> None:
        """Look at the clock, once per batch. Ids of one process keep rising even if the clock steps back."""
        now_ms = time.time_ns() // 1_000_000
        if now_ms > self._unix_ms:
            self._unix_ms = now_ms
            self._random = secrets.randbits(RANDOM_BITS) >> _BLOCK_BITS << _BLOCK_BITS

    def next(self) -> str:
        """The next event id of the block, `evt_…`."""
        self._random += 1
        return EVENT + encode(uuid7(self._unix_ms, self._random))
