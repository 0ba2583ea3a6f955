"""`tallybook run`: one role in this process. What a role does not need is not imported here."""

import asyncio
import gc
from typing import Annotated, Final

import structlog
import typer

from cli.output import AsJson
from host.registry import ON_DEMAND, ROLES, load
from host.waiting import EXIT_UNAVAILABLE, ServersAway, await_servers, is_away
from infra.settings import load_settings
from infra.telemetry import configure_logging

GARBAGE_THRESHOLDS: Final = (20_000, 20, 50)
"""See `gc.set_threshold`; Python's own are (700, 10, 10)."""


_EVERY: Final = {**ROLES, **ON_DEMAND}


def run(role: Annotated[str, typer.Argument(help=f"One of: {', '.join(_EVERY)}.")], *, as_json: AsJson = False) -> None:
    """Run one role in this process until SIGTERM, with the servers that the environment names.

    With --json its log is JSON lines, whatever TALLYBOOK_TELEMETRY_LOG_FORMAT says.
    [dim]Example:[/dim] [cyan]TALLYBOOK_RELAY_PROBE_PORT=9101 tallybook run relay[/cyan]
    """
    if role not in _EVERY:
        raise typer.BadParameter(f"{role} is not a role; there are {', '.join(_EVERY)}.")
    settings = load_settings()
    telemetry = settings.telemetry.model_copy(update={"log_format": "json"}) if as_json else settings.telemetry
    configure_logging(telemetry, role=role)
    start = load(_EVERY[role])
    _collect_seldom()
    try:
        asyncio.run(await_servers(settings, role))
        start(settings)
    except Exception as error:
        away = error if isinstance(error, ServersAway) else is_away(error)
        if away is None:
            raise
        structlog.get_logger(__name__).critical("role_ends", why=f"{type(away).__name__}: {away}")
        raise typer.Exit(EXIT_UNAVAILABLE) from None


def _collect_seldom() -> None:
    """Let Python look for cyclic garbage less often, and never in what is loaded by now.

    The roles keep many states and make few cycles: looking for them took a tenth of the processors' time and a fifth of
    the projections'.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
