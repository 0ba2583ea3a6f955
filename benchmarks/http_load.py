"""An open-loop HTTP load generator, in a process of its own: requests leave when they are due, not when there is room.

`python -m benchmarks.http_load` reads one JSON object from standard input (see `Load`) and writes one JSON object (see
`Measured`) to standard output. A latency counts from the moment that the request was meant to leave, so that a server
that stalls is charged for everything that had to wait meanwhile.
"""

import asyncio
import json
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

READ_BYTES: Final = 65_536
DRAIN_S: Final = 10.0
SPIN_S: Final = 0.002
SPINS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send: `requests_per_s` for `duration_s` over at most `connections`.

    `path`, `body` and headers may hold `{n}`, the request's number; `paths` are taken in turn where there are several,
    and so are `bodies`, which stand for `body` then. `drain_s` is the longest wait for answers after the last is due.
    """

    host: str
    port: int
    method: str
    paths: Sequence[str]
    headers: dict[str, str]
    body: str | None
    requests_per_s: float
    duration_s: float
    connections: int = 64
    bodies: Sequence[str] = ()
    drain_s: float = DRAIN_S


def all_at_once(
    port: int, path: str, *, key: str, bodies: Sequence[str], requests: int, connections: int, drain_s: float = DRAIN_S
) -> Load:
    """Posts, all of which are due at once, so each connection sends the next as soon as it has its answer."""
    return Load(
        host="127.0.0.1",
        port=port,
        method="POST",
        paths=[path],
        headers={"Authorization": f"Bearer {key}"},
        body="",
        bodies=bodies,
        requests_per_s=requests * 10,
        duration_s=0.1,
        connections=connections,
        drain_s=drain_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of it. Milliseconds from the intended start; `failed` counts answers that are no 2xx, and none.

    `latencies_ms` are all of those answered with 2xx, sorted: for percentiles of several runs together. `began_at_s`
    is when the first request was due, since 1970; `cpu_s` the processor time that sending took.
    """

    asked_per_s: float
    done_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    first_failure: str
    latencies_ms: Sequence[float]
    began_at_s: float
    cpu_s: float


class _Connection:
    """One kept-alive connection: a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, load: Load) -> "_Connection":
        return cls(*await asyncio.open_connection(load.host, load.port, limit=READ_BYTES))

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """The answer's status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        length = int(lower[at : lower.index(b"\r\n", at)])
        return status, await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


class Generator:
    """Sends one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._free: deque[_Connection] = deque()
        self._late: deque[tuple[float, bytes]] = deque()
        self._latencies_s: list[float] = []
        self._failed = 0
        self._first_failure = ""
        self._open = 0

    async def run(self) -> Measured:
        """Send everything, wait for the answers."""
        load = self._load
        for _ in range(load.connections):
            self._free.append(await _Connection.open(load))
        total = int(load.requests_per_s * load.duration_s)
        requests = [self._request(number) for number in range(total)]
        started, began_at_s, cpu_s = time.perf_counter() + 0.1, time.time() + 0.1, time.process_time()
        tasks: set[asyncio.Task[None]] = set()
        for number, request in enumerate(requests):
            due = started + number / load.requests_per_s
            await _until(due)
            if self._free:
                task = asyncio.create_task(self._serve(self._free.popleft(), due, request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                self._late.append((due, request))
        if tasks:
            await asyncio.wait(tasks, timeout=load.drain_s)
        elapsed_s = time.perf_counter() - started
        self._failed += total - len(self._latencies_s) - self._failed
        for connection in self._free:
            connection.close()
        return self._measured(elapsed_s, began_at_s, time.process_time() - cpu_s)

    async def _serve(self, connection: _Connection, due: float, request: bytes) -> None:
        """Send a request, then whatever waits for a connection."""
        while True:
            try:
                status, body = await connection.exchange(request)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self._fail(repr(error))
                connection = await _Connection.open(self._load)
            else:
                self._latencies_s.append(time.perf_counter() - due)
                if not 200 <= status < 300:
                    self._latencies_s.pop()
                    self._fail(f"{status} {body[:200]!r}")
            if not self._late:
                self._free.append(connection)
                return
            due, request = self._late.popleft()

    def _fail(self, why: str) -> None:
        self._failed += 1
        self._first_failure = self._first_failure or why

    def _request(self, number: int) -> bytes:
        load = self._load
        path = load.paths[number % len(load.paths)].replace("{n}", str(number))
        text = load.bodies[number % len(load.bodies)] if load.bodies else load.body
        body = b"" if text is None else text.replace("{n}", str(number)).encode()
        lines = [f"{load.method} {path} HTTP/1.1", f"Host: {load.host}:{load.port}"]
        lines += [f"{name}: {value.replace('{n}', str(number))}" for name, value in load.headers.items()]
        if load.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _measured(self, elapsed_s: float, began_at_s: float, cpu_s: float) -> Measured:
        found = sorted(self._latencies_s)
        return Measured(
            asked_per_s=self._load.requests_per_s,
            done_per_s=round(len(found) / elapsed_s, 1),
            p50_ms=percentile_ms(found, 50),
            p95_ms=percentile_ms(found, 95),
            p99_ms=percentile_ms(found, 99),
            failed=self._failed,
            first_failure=self._first_failure,
            latencies_ms=[round(each * 1000, 2) for each in found],
            began_at_s=began_at_s,
            cpu_s=cpu_s,
        )


def percentile_ms(sorted_s: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile of sorted seconds, in milliseconds; NaN of nothing."""
    if not sorted_s:
        return math.nan
    return round(sorted_s[math.ceil(len(sorted_s) * percent / 100) - 1] * 1000, 2)


async def _until(due: float) -> None:
    """Sleep, and let others run in the last milliseconds: a timer alone is too coarse."""
    early = due - time.perf_counter()
    if early > SPIN_S:
        await asyncio.sleep(early - SPIN_S)
    for _ in range(SPINS_MAX):
        if time.perf_counter() >= due:
            return
        await asyncio.sleep(0)


async def measure(load: Load) -> Measured:
    """Run a load in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.http_load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate(json.dumps(asdict(load)).encode())
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    return Measured(**json.loads(told))


def main() -> None:
    """Read a load, send it, tell what came of it."""
    load = Load(**json.load(sys.stdin))
    print(json.dumps(asdict(uvloop.run(Generator(load).run()))))


if __name__ == "__main__":
    main()
