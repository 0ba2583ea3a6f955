"""Servers for the benchmarks: embedded, durable, in a folder of their own that is removed at the end."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from cli.stack import migrate
from infra.embedded.servers import Servers
from infra.settings import Settings, load_settings


@contextlib.asynccontextmanager
async def bench_servers() -> AsyncIterator[Settings]:
    """A migrated, empty database and a broker; the settings name them."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101, S103 - the servers' own user passes through it
        base = load_settings()
        settings = replace(base, general=base.general.model_copy(update={"data_dir": Path(folder)}))
        servers = Servers.from_settings(settings)
        await asyncio.to_thread(servers.start)
        try:
            connected = servers.connected(settings)
            await migrate(connected, servers)
            yield connected
        finally:
            await asyncio.to_thread(servers.stop)
