"""Who may next, where only so many may at a time: nobody waits for all that somebody else wants.

Each name has so many places at most, and whoever waits is let in name by name. So a name that asks a hundred times at
once keeps another one waiting for the turns that are under way, and no longer.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class TooManyWait(Exception):
    """As many as may wait under this name wait already."""


class Turns:
    """So many at once, of one name `each_max`; behind them `waiting_max` of each name wait."""

    def __init__(self, at_once: int, *, each_max: int, waiting_max: int) -> None:
        self._free = at_once
        self._each_max = each_max
        self._waiting_max = waiting_max
        self._inside: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """In the order in which names are let in."""

    @contextlib.asynccontextmanager
    async def taken(self, name: str) -> AsyncIterator[None]:
        """A place, once it is this name's turn. Raises TooManyWait."""
        await self._enter(name)
        try:
            yield
        finally:
            self._leave(name)

    async def _enter(self, name: str) -> None:
        if self._may(name) and name not in self._waiting:
            self._take(name)
            return
        line = self._waiting.setdefault(name, deque())
        if len(line) >= self._waiting_max:
            raise TooManyWait(name)
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._give_up(name, turn)
            else:
                self._leave(name)  # it was let in at the very moment
            raise

    def _may(self, name: str) -> bool:
        return self._free > 0 and self._inside[name] < self._each_max

    def _take(self, name: str) -> None:
        self._free -= 1
        self._inside[name] += 1

    def _leave(self, name: str) -> None:
        self._free += 1
        self._inside[name] -= 1
        if not self._inside[name]:
            del self._inside[name]
        line = self._waiting.pop(name, None)
        if line is not None:
            self._waiting[name] = line  # it had its turn: behind all others
        self._let_in()

    def _let_in(self) -> None:
        while (name := next((each for each in self._waiting if self._may(each)), None)) is not None:
            line = self._waiting.pop(name)
            turn = line.popleft()
            if line:
                self._waiting[name] = line
            if not turn.cancelled():
                self._take(name)
                turn.set_result(None)

    def _give_up(self, name: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(name)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[name]
