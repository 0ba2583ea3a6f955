"""What was looked up a moment ago: believed for some seconds, or until it is told that something has changed."""

import hashlib
import time
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


def digest_of(secret: str) -> bytes:
    """What a credential is remembered by: whoever reads this process's memory finds none in it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


class Remembered(Generic[Value]):
    """Up to `entries_max` values by digest, each for `lasts_s` at most; the ones least recently put go first."""

    def __init__(self, *, lasts_s: float, entries_max: int) -> None:
        self._lasts_s = lasts_s
        self._entries_max = entries_max
        self._held: OrderedDict[bytes, tuple[Value, float]] = OrderedDict()
        self.forgotten = 0
        """How often all was forgotten: handed to `put`, it tells what was looked up before the last time."""

    def get(self, digest: bytes) -> Value | None:
        """The value, if it is still believed."""
        held = self._held.get(digest)
        return None if held is None or held[1] <= time.monotonic() else held[0]

    def put(self, digest: bytes, value: Value, *, ends_in_s: float | None = None, forgotten: int) -> None:
        """Believe a value, at most until it ends. What was looked up before all was forgotten is not believed: it may
        be from before the change, and the next request looks again.
        """
        if forgotten != self.forgotten:
            return
        lasts_s = self._lasts_s if ends_in_s is None else min(self._lasts_s, ends_in_s)
        self._held[digest] = (value, time.monotonic() + lasts_s)
        self._held.move_to_end(digest)
        if len(self._held) > self._entries_max:
            self._held.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        """Believe this one no more."""
        self._held.pop(digest, None)

    def forget(self) -> None:
        """Believe nothing that was looked up before: who may do what has changed."""
        self.forgotten += 1
        self._held.clear()
