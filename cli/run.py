"""The roles: what `tallybook run ROLE` starts, each in a process of its own. Imports wait until a role needs them."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

from infra.settings import Settings, SettingsError, data_dir
from infra.telemetry import Health, PartHealth, start_probe_server


def _dsn(settings: Settings) -> str:
    if settings.database.url is None:
        raise SettingsError("TALLYBOOK_DATABASE_URL is not set: name the database, or use `tallybook dev`.")
    return settings.database.url.get_secret_value()


def _bootstrap(settings: Settings) -> str:
    if settings.kafka.bootstrap is None:
        raise SettingsError("TALLYBOOK_KAFKA_BOOTSTRAP is not set: name the brokers, or use `tallybook dev`.")
    return settings.kafka.bootstrap


def relay(settings: Settings) -> None:
    """Publish the log to Kafka."""
    uvloop.run(_relay(settings))


async def _relay(settings: Settings) -> None:
    from domain.catalogue import STREAMS
    from infra.kafka.relay import Relay

    publisher = Relay(settings, dsn=_dsn(settings), bootstrap=_bootstrap(settings), streams=STREAMS)

    async def health() -> Health:
        detail = "leads" if publisher.leads else "follows"
        part = PartHealth(
            name="relay",
            ok=publisher.last_error is None,
            detail=publisher.last_error or detail,
            lag_events=publisher.lag_events,
        )
        return Health(role="relay", parts=(part,))

    probe = await start_probe_server(
        settings.relay.probe_port,
        health,
        host=settings.telemetry.probe_host,
        timeout_ms=settings.telemetry.health_timeout_ms,
    )
    try:
        await _until_stopped(publisher.run())
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

    uvloop.run(run(settings, dsn=_dsn(settings), bootstrap=_bootstrap(settings)))


def gateway(settings: Settings) -> None:
    """Serve the sandbox gateway, with its store in the data folder."""
    from gateway_adapters.sandbox_server.server import serve
    from gateway_adapters.sandbox_server.settings import SandboxServerSettings

    folder = data_dir(settings) / "gateway"
    folder.mkdir(mode=0o700, exist_ok=True)
    served = SandboxServerSettings(
        host=settings.gateway.host,
        port=settings.gateway.port,
        store_path=folder / "sandbox.sqlite3",
        api_key=settings.gateway.api_key.get_secret_value(),
    )
    uvloop.run(serve(served))
