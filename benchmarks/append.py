"""Commands per second through the whole command path, against three others in the same run on the same server.

`naive`: one transaction per command in plain asyncpg, the same checks and writes, its state already in memory.
`eventsourcing`: the library of that name, its aggregates cached, one thread per caller. It keeps no idempotency keys.
`raw`: the same events inserted in batches as large as there are callers, encoded beforehand, nothing checked; the
faster of COPY and of one INSERT of arrays.

Every command is a customer's change of time zone: one event. Each caller waits for its answer before it asks again, and
has a customer of its own. All are durable (synchronous_commit on). `python -m benchmarks.append` prints a table.
"""

import asyncio
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.accepted import accepted
from benchmarks.append_contenders import ANSWER, HASH, TENANT, ZONES, closed_loop, eventsourcing, naive, raw
from benchmarks.servers import running
from domain.customers.customer import CreateCustomer, UpdateCustomer
from domain.kernel.identifiers import CUSTOMER as CUSTOMER_ID
from host.embedded.postgres import EmbeddedPostgres
from infra.event_store.opening import open_writer
from infra.event_store.port import Request
from infra.ids import new_id
from infra.migrations import migrate
from infra.settings import Settings, WriterSettings, cache_dir

CALLERS: Final = (1, 16, 64, 256)
ROUNDS: Final = 3
ROUND_S: Final = 2.0

Report = Callable[[str], None]


def request(command: CreateCustomer | UpdateCustomer) -> Request:
    """A request under a key of its own."""
    return Request(
        tenant_id=TENANT,
        idempotency_key=new_id("idem_"),
        request_hash=HASH,
        command=command,
        actor="key_bench",
        correlation_id="req_bench",
        answer=lambda _: ANSWER,
    )


async def customers(dsn: str, count: int) -> list[str]:
    """Make so many customers."""
    writer = open_writer(dsn, WriterSettings())
    ids = [new_id(CUSTOMER_ID) for _ in range(count)]
    commands = (CreateCustomer(customer_id=one, currency="EUR") for one in ids)
    await accepted(writer, map(request, commands))
    await writer.close()
    return ids


async def ours(dsn: str, ids: list[str], seconds: float) -> float:
    """Through the writer. Callers of the same customer change it in turn, whoever comes first."""
    writer = open_writer(dsn, WriterSettings())

    def caller(customer_id: str, turn: int) -> Callable[[], Awaitable[None]]:
        async def call() -> None:
            nonlocal turn
            turn += 1
            await writer.submit(request(UpdateCustomer(customer_id=customer_id, time_zone=ZONES[turn % 2])))

        return call

    callers = [caller(one, place // 2) for place, one in enumerate(ids)]
    try:
        await asyncio.gather(*(call() for call in callers))  # connects, prepares, brings the streams into memory
        return await closed_loop(callers, seconds)
    finally:
        await writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Somebody who appends, in a database of its own."""

    name: str
    dsn: str
    run: Callable[[str, list[str], float], Awaitable[float]]
    ids: list[str]


async def two_processes(dsn: str, ids: list[str], seconds: float) -> float:
    """Two processes write at once, each with half of the callers (all of them given the same one customer if hot)."""
    half = len(ids) // 2
    arguments = [sys.executable, "-m", "benchmarks.append", "--worker", dsn, str(seconds)]
    processes = [
        await asyncio.create_subprocess_exec(*arguments, *part, stdout=asyncio.subprocess.PIPE)
        for part in (ids[:half], ids[half:])
    ]
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    return sum(float(answer[0]) for answer in answers)


async def rows(report: Report = lambda _: None) -> list[dict[str, Any]]:
    """Rows `append-1`, `-16`, `-64`, `-256`, and two processes on separate streams and on one hot stream."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101, S103  the server's user passes through
        server = EmbeddedPostgres(Path(folder) / "postgres", cache=cache_dir(Settings()))
        async with running(server.start, server.stop):
            contenders = []
            for name, run in (("ours", ours), ("naive", naive), ("eventsourcing", eventsourcing), ("raw", raw)):
                await server.ensure_database(name)
                dsn = server.dsn(database=name)
                await migrate(dsn)
                contenders.append(Contender(name=name, dsn=dsn, run=run, ids=await customers(dsn, max(CALLERS))))
            return [
                *[await _row(contenders, callers, report) for callers in CALLERS],
                *[await _two_process_row(contenders[0], hot=hot, report=report) for hot in (False, True)],
            ]


async def _row(contenders: list[Contender], callers: int, report: Report) -> dict[str, Any]:
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(ROUNDS):
        for contender in contenders:
            rate = await contender.run(contender.dsn, contender.ids[:callers], ROUND_S)
            rates[contender.name].append(rate)
            report(f"append-{callers}: {contender.name} {rate:,.0f}/s")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return _result(f"append-{callers}", medians)


async def _two_process_row(contender: Contender, *, hot: bool, report: Report) -> dict[str, Any]:
    ids = [contender.ids[0]] * 64 if hot else contender.ids[:64]
    rates: dict[str, list[float]] = {"ours": [], "one-process": []}
    row_id = f"append-two-processes-{'hot' if hot else 'separate'}"
    for _ in range(ROUNDS):
        for name, run in (("ours", two_processes), ("one-process", ours)):
            rate = await run(contender.dsn, ids, ROUND_S)
            rates[name].append(rate)
            report(f"{row_id}: {name} {rate:,.0f}/s")
    return _result(row_id, {name: statistics.median(found) for name, found in rates.items()})


def _result(row_id: str, medians: dict[str, float]) -> dict[str, Any]:
    own = medians["ours"]
    return {
        "id": row_id,
        "ours": round(own),
        "unit": "commands/s",
        "ratios": {name: round(own / rate, 2) for name, rate in medians.items() if name != "ours"},
    }


async def _rows_until_stopped() -> list[dict[str, Any]]:
    running = asyncio.current_task()
    assert running is not None
    # Stopped like this it still takes its server down.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await rows(lambda line: print(line, file=sys.stderr, flush=True))


def main() -> None:
    """Print a table, with progress on standard error; or be one of two processes."""
    if sys.argv[1:2] == ["--worker"]:
        dsn, seconds, *ids = sys.argv[2:]
        print(uvloop.run(ours(dsn, ids, float(seconds))))
        return
    for row in uvloop.run(_rows_until_stopped()):
        ratios = "  ".join(f"{name} ×{ratio}" for name, ratio in row["ratios"].items())
        print(f"{row['id']:<32}{row['ours']:>9,} {row['unit']}   {ratios}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
