"""Servers for the benchmarks: embedded, durable, in a folder of their own that is removed at the end."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from host.embedded.process import free_port
from host.embedded.servers import Servers
from host.registry import ROLES
from host.stack import NO_LIMITS, Stack, migrate, running_stack
from host.until_stopped import run_until_stopped
from infra.settings import Settings, load_settings

STOPPED: Final = 130
"""What a shell says of a program that Ctrl-C ended."""

Found = TypeVar("Found")


def found_by(work: Coroutine[Any, Any, Found]) -> Found:
    """What work finds. Where Ctrl-C or SIGTERM ends it, it first stops what it started; then this process ends."""
    found: list[Found] = []

    async def find() -> None:
        found.append(await work)

    if not run_until_stopped(find()):
        raise SystemExit(STOPPED)
    return found[0]


@contextlib.asynccontextmanager
async def running(start: Callable[[], object], stop: Callable[[], object]) -> AsyncIterator[None]:
    """What these start and stop in threads. A thread cannot be cancelled: what is just starting is stopped, too."""
    starting = asyncio.create_task(asyncio.to_thread(start))
    try:
        await asyncio.shield(starting)
        yield
    finally:
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.to_thread(stop)


@contextlib.asynccontextmanager
async def bench_servers() -> AsyncIterator[Settings]:
    """A migrated, empty database and a broker; the settings name them."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - the servers' own user passes through it
        base = load_settings()
        settings = replace(base, general=base.general.model_copy(update={"data_dir": Path(folder)}))
        servers = Servers.from_settings(settings)
        async with running(servers.start, servers.stop):
            connected = servers.connected(settings)
            await migrate(connected, servers)
            yield connected


@contextlib.asynccontextmanager
async def bench_stack(
    environment: Mapping[str, str] = MappingProxyType({}), roles: Sequence[str] = tuple(ROLES)
) -> AsyncIterator[Stack]:
    """The servers and one process of each of these roles, on free ports, without a limit on requests per key."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - the servers' own user passes through it
        base = load_settings()
        settings = replace(
            base,
            general=base.general.model_copy(update={"data_dir": Path(folder)}),
            api=base.api.model_copy(update={"port": free_port()}),
            gateway=base.gateway.model_copy(update={"port": free_port()}),
        )
        async with running_stack(settings, environment={**NO_LIMITS, **environment}) as stack:
            for role in roles:
                await stack.supervisor.start(role)
            await stack.supervisor.wait_ready()
            yield stack
