"""Who is connected to a process, and how many may be: of the process, of one address, in a handshake, in a request.

Where the process is full, the connection that has waited longest makes room: it is an idle one, or one that holds back
its request. So whoever comes last and is quick is served. Where an address is full, its newest is turned away.
"""

import asyncio
from collections import Counter
from typing import Final, NamedTuple, Protocol

from api.http.addresses import Network, is_trusted, limited_as
from api.http.problems import REQUEST_TIMEOUT, TOO_MANY_CONNECTIONS, ProblemType

SWEEP_S: Final = 0.5
"""Pause between looks for connections whose time is up."""

LINGER_S: Final = 5.0
"""How long a connection that is being closed may take to accept what is still to be sent."""


class Limits(NamedTuple):
    """What one process allows; all of them are settings."""

    connections_max: int
    connections_per_address_max: int
    handshakes_max: int
    handshakes_per_address_max: int
    unfinished_max: int
    unfinished_per_address_max: int
    head_max_bytes: int
    header_max_count: int
    body_max_bytes: int
    handshake_timeout_s: float
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    trusted_proxies: tuple[Network, ...] = ()


class Held(Protocol):
    """One connection, in its handshake or behind it."""

    def make_room(self) -> None:
        """Close it: it has waited longest, or too long."""

    def refuse(self, kind: ProblemType) -> None:
        """Close it, and say why if that can be said."""

    def end_if_due(self, now: float) -> None:
        """Close it if it has had its time."""


class Bounded:
    """So many of one thing, of the process and of one address."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._members: dict[Held, str | None] = {}
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._members)

    def take(self, one: Held, address: str | None) -> bool:
        """Count it, once; the oldest ends where the process has too many. False: its address has too many."""
        if one in self._members:
            return True
        if address is not None:
            if self._of_address[address] >= self._most_of_address:
                return False
            self._of_address[address] += 1
        self._members[one] = address
        if len(self._members) > self._most:
            next(iter(self._members)).refuse(REQUEST_TIMEOUT)
        return True

    def oldest(self) -> Held | None:
        """The one that has been under way longest."""
        return next(iter(self._members), None)

    def give_back(self, one: Held) -> None:
        """It is done, or never will be."""
        if one not in self._members:
            return
        address = self._members.pop(one)
        if address is not None:
            _decrement(self._of_address, address)


class Admission:
    """All connections of one process. A trusted proxy's are counted for the process only: it speaks for many."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[Held, str | None] = {}
        self._waiting: dict[Held, None] = {}
        self._of_address: Counter[str] = Counter()
        self._handshakes = Bounded(limits.handshakes_max, limits.handshakes_per_address_max)
        self._unfinished = Bounded(limits.unfinished_max, limits.unfinished_per_address_max)
        self._sweeping: asyncio.TimerHandle | None = None

    def enter(self, connection: Held, peer: str) -> bool:
        """Count a new connection. False: there are too many."""
        if connection in self._open:
            return True
        limits = self.limits
        address = None if not peer or is_trusted(peer, limits.trusted_proxies) else limited_as(peer)
        if address is not None:
            if self._of_address[address] >= limits.connections_per_address_max:
                return False
            self._of_address[address] += 1
        self._open[connection] = address
        if len(self._open) > limits.connections_max:
            self._make_room()
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return True

    def leave(self, connection: Held) -> None:
        """A connection is gone."""
        if connection not in self._open:
            return
        self.not_shaken(connection)
        self.finish(connection)
        address = self._open.pop(connection)
        if address is not None:
            _decrement(self._of_address, address)

    def shake(self, handshake: Held) -> bool:
        """Count a handshake that begins. False: its address has too many."""
        self._waiting[handshake] = None
        return self._handshakes.take(handshake, self._open.get(handshake))

    def not_shaken(self, handshake: Held) -> None:
        """It came to nothing."""
        self._handshakes.give_back(handshake)
        self.busy(handshake)

    def shaken(self, handshake: Held, connection: Held) -> None:
        """The handshake is done: the connection that comes of it is counted where it was."""
        self.not_shaken(handshake)
        self._open[connection] = self._open.pop(handshake)

    def waits(self, connection: Held) -> None:
        """Nothing of a request has come; the one that waits longest may have to go."""
        self._waiting[connection] = None

    def busy(self, connection: Held) -> None:
        """It does not wait any more."""
        self._waiting.pop(connection, None)

    def begin(self, connection: Held) -> bool:
        """Count a request whose end has not come with its beginning. False: its address has too many."""
        return self._unfinished.take(connection, self._open.get(connection))

    def finish(self, connection: Held) -> None:
        """The request has come whole, or never will."""
        self._unfinished.give_back(connection)

    def counts(self) -> tuple[int, int, int]:
        """Connections that are open, handshakes and requests that are under way."""
        return len(self._open), len(self._handshakes), len(self._unfinished)

    def _make_room(self) -> None:
        longest = next(iter(self._waiting), None) or self._unfinished.oldest()
        if longest is not None:
            longest.make_room()
        else:
            next(reversed(self._open)).refuse(TOO_MANY_CONNECTIONS)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            connection.end_if_due(now)
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if self._open else None


def _decrement(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
