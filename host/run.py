"""The roles: what `tallybook run ROLE` starts, each in a process of its own. Imports wait until a role needs them."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

from host.configured import bootstrap, owner_dsn, writer_dsn
from infra.database import Role
from infra.heartbeat import Heartbeat
from infra.settings import Settings, data_dir, gateway_api_key


def relay(settings: Settings) -> None:
    """Publish the log to Kafka."""
    uvloop.run(_relay(settings))


async def _relay(settings: Settings) -> None:
    from domain.catalogue import STREAMS
    from infra.kafka.relay import Relay

    publisher = Relay(settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings), streams=STREAMS)
    heartbeat = Heartbeat(
        settings, dsn=writer_dsn(settings), role="relay", database_role=Role.RELAY, parts=publisher.health
    )
    await _probed(heartbeat, settings.relay.probe_port, publisher.run())


def projections(settings: Settings) -> None:
    """Fold the topics into the read models."""
    uvloop.run(_projections(settings))


async def _projections(settings: Settings) -> None:
    from projections.folding.worker import Projections

    workers = Projections(
        settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings), owner_dsn=owner_dsn(settings)
    )
    heartbeat = Heartbeat(
        settings, dsn=writer_dsn(settings), role="projections", database_role=Role.PROJECTOR, parts=workers.health
    )
    await _probed(heartbeat, settings.projections.probe_port, workers.run())


def metering(settings: Settings) -> None:
    """Count usage."""
    uvloop.run(_metering(settings))


async def _metering(settings: Settings) -> None:
    from usage.aggregation.log_meters import LogMeters
    from usage.aggregation.role import Metering

    aggregator = Metering(settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings), meters=LogMeters())
    heartbeat = Heartbeat(
        settings, dsn=writer_dsn(settings), role="metering", database_role=Role.METERING, parts=aggregator.health
    )
    await _probed(heartbeat, settings.metering.probe_port, aggregator.run())


async def _probed(heartbeat: Heartbeat, port: int, work: Coroutine[Any, Any, None]) -> None:
    """Run a role's work until it is asked to stop, with its heartbeat, and a server that tells health and metrics."""
    async with heartbeat.beating():
        probe = await heartbeat.serve(port)
        try:
            await _until_stopped(work)
        finally:
            await probe.stop()


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM or SIGINT, then cancel and wait for the end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


def processors(settings: Settings) -> None:
    """Drive sagas and run due work."""
    from processors.app import run

    uvloop.run(run(settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings)))


def api(settings: Settings) -> None:
    """Serve the HTTP API."""
    from api.app import run

    uvloop.run(run(settings, dsn=writer_dsn(settings)))


def ingest(settings: Settings) -> None:
    """Take usage events, and nothing else, by HTTP."""
    from api.app import run_ingest

    uvloop.run(run_ingest(settings, dsn=writer_dsn(settings)))


def gateway(settings: Settings) -> None:
    """Serve the sandbox gateway, with its store in the data folder."""
    from sandbox_gateway.server import serve
    from sandbox_gateway.settings import SandboxServerSettings

    folder = data_dir(settings) / "gateway"
    folder.mkdir(mode=0o700, exist_ok=True)
    served = SandboxServerSettings(
        host=settings.gateway.host,
        port=settings.gateway.port,
        store_path=folder / "sandbox.sqlite3",
        api_key=gateway_api_key(settings),
    )
    uvloop.run(serve(served))
