"""What `make bench` runs is there to be run, and stops what it started when it is stopped."""

import asyncio
import importlib
import os
import signal
import threading
from collections.abc import Callable

import pytest

from benchmarks.__main__ import SUITES
from benchmarks.servers import STOPPED, found_by, running


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_rows(suite: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{suite}").rows)


def test_what_is_found_is_told() -> None:
    async def find() -> list[int]:
        return [7]

    assert found_by(find()) == [7]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("when", ["starting", "running"])
def test_a_benchmark_that_is_stopped_stops_its_servers(number: signal.Signals, when: str) -> None:
    happened: list[str] = []
    may_start = threading.Event()

    def told(what: str) -> Callable[[], None]:
        return lambda: happened.append(what)

    def start() -> None:
        if when == "starting":
            os.kill(os.getpid(), number)
            assert may_start.wait(timeout=60)
        happened.append("started")

    async def measure() -> None:
        asyncio.get_running_loop().call_later(0.05, may_start.set)  # after the signal was heeded, or before: the same
        async with running(start, told("stopped")):
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as ended:
        found_by(measure())
    assert ended.value.code == STOPPED
    assert happened == ["started", "stopped"]
