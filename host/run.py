"""The roles: what `tallybook run ROLE` starts, each in a process of its own. Imports wait until a role needs them."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from host.addresses import bootstrap, owner_dsn, writer_dsn
from infra.settings import Settings, data_dir, gateway_api_key
from infra.telemetry import Health, PartHealth, start_probe_server


def relay(settings: Settings) -> None:
    """Publish the log to Kafka."""
    uvloop.run(_relay(settings))


async def _relay(settings: Settings) -> None:
    from domain.catalogue import STREAMS
    from infra.kafka.relay import Relay

    publisher = Relay(settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings), streams=STREAMS)

    def parts() -> tuple[PartHealth, ...]:
        part = PartHealth(
            name="relay",
            ok=publisher.last_error is None,
            detail=publisher.last_error or ("leads" if publisher.leads else "follows"),
            lag_events=publisher.lag_events,
        )
        return (part,)

    await _probed(settings, "relay", settings.relay.probe_port, parts, publisher.run())


def projections(settings: Settings) -> None:
    """Fold the topics into the read models."""
    uvloop.run(_projections(settings))


async def _projections(settings: Settings) -> None:
    from projections.folding.worker import Projections

    workers = Projections(
        settings, dsn=writer_dsn(settings), bootstrap=bootstrap(settings), owner_dsn=owner_dsn(settings)
    )
    await _probed(settings, "projections", settings.projections.probe_port, workers.health, workers.run())


async def _probed(
    settings: Settings,
    role: str,
    port: int,
    parts: Callable[[], tuple[PartHealth, ...]],
    work: Coroutine[Any, Any, None],
) -> None:
    """Run a role's work until it is asked to stop, with a server that tells its health and metrics."""

    async def health() -> Health:
        return Health(role=role, parts=parts())

    probe = await start_probe_server(
        port, health, host=settings.telemetry.probe_host, timeout_ms=settings.telemetry.health_timeout_ms
    )
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
