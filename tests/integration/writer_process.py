"""A process of its own that writes to the log until it is stopped or killed, and tells what was acknowledged.

`python -m tests.integration.writer_process DSN NAME CALLERS COUNTERS [LIMIT=VALUE…]`: each caller raises one of the
counters again and again (opening it first), under keys `NAME-caller-n`, which are the correlation ids too. A line
`key position` goes to standard output for every acknowledged command. `freeze` on standard input makes it lock the
head, say `frozen`, and stop itself in the middle of its transaction.
"""

import asyncio
import contextlib
import os
import signal
import sys

from infra.event_store.opening import open_writer
from infra.event_store.port import QueueFull, StoreUnavailable
from infra.event_store.postgres import PostgresStorage
from infra.event_store.storage import StoreLost
from infra.settings import WriterSettings
from testing.requests import request
from tests.contracts.counter_stream import HANDLERS, CounterCodec, Open, Raise


async def run(dsn: str, name: str, callers: int, counters: int, limits: dict[str, int]) -> None:
    settings = WriterSettings(**limits)
    writer = open_writer(dsn, settings, handlers=HANDLERS, codec=CounterCodec())

    async def call(caller: int) -> None:
        counter_id = f"counter-{caller % counters}"
        await writer.submit(request(Open(counter_id=counter_id), key=f"{name}-{caller}-open"))
        n = 0
        while True:
            n += 1
            key = f"{name}-{caller}-{n}"
            command = request(Raise(counter_id=counter_id, by=1), key=key, correlation_id=key)
            while True:
                try:
                    outcome = await writer.submit(command)
                    break
                except (StoreUnavailable, QueueFull):
                    await asyncio.sleep(0.05)
            sys.stdout.write(f"{key} {outcome.position}\n")
            sys.stdout.flush()

    async def obey() -> None:
        if await asyncio.to_thread(sys.stdin.readline) == "freeze\n":
            frozen = PostgresStorage(dsn, settings)
            with contextlib.suppress(StoreLost):  # by the time it wakes the database has thrown it out
                async with frozen.locked():
                    sys.stdout.write("frozen 0\n")
                    sys.stdout.flush()
                    os.kill(os.getpid(), signal.SIGSTOP)

    await asyncio.gather(obey(), *(call(caller) for caller in range(callers)))


if __name__ == "__main__":
    asyncio.run(
        run(
            sys.argv[1],
            sys.argv[2],
            int(sys.argv[3]),
            int(sys.argv[4]),
            {limit.split("=")[0]: int(limit.split("=")[1]) for limit in sys.argv[5:]},
        )
    )
