"""`tallybook up`, `down`, `status`, `migrate` and `dev`: the servers, and everything at once."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from cli.output import AsJson, console_for, print_json, print_rows
from host.embedded.postgres import EmbeddedPostgres
from host.embedded.process import find_process
from host.embedded.servers import Servers
from host.readiness import Endpoint
from host.registry import ROLES, SEED, SIGN_IN_LINK, load
from host.roster import RunningRole, read_roster, roles_folder
from host.stack import Stack, migrate, running_stack
from host.supervisor import SupervisorError, end_leftovers
from host.until_stopped import run_until_stopped
from host.watch import Watch
from infra.settings import Settings, SettingsError, data_dir, data_path, load_settings

console = Console()
PROBE_TIMEOUT_S = 5.0
POLL_S = 0.05
STOP_GRACE_S = 60.0


def up(*, as_json: AsJson = False) -> None:
    """Start PostgreSQL and Kafka, and leave them running.

    Uses the ones that already run in the data folder. [dim]Example:[/dim] [cyan]tallybook up && tallybook status[/cyan]
    """
    settings = load_settings()
    data_dir(settings)
    servers = Servers.from_settings(settings)
    start = time.monotonic()
    servers.start(detached=True)
    asyncio.run(migrate(servers.connected(settings), servers))
    if as_json:
        print_json({"environment": servers.environment()})
        return
    tell_servers(settings, servers)
    console.print(f"Ready after {time.monotonic() - start:.1f} s. [cyan]tallybook down[/cyan] stops them.")


def down(*, as_json: AsJson = False) -> None:
    """Stop everything that runs on the data folder: roles, Kafka, PostgreSQL.

    The data stays. [dim]Example:[/dim] [cyan]tallybook down[/cyan]
    """
    settings = load_settings()
    folder = roles_folder(settings)
    roster = read_roster(folder)
    supervisor = find_process(roster.supervisor_pid, roster.supervisor_started_at) if roster else None
    if supervisor is not None and supervisor.pid != os.getpid():
        supervisor.send_signal(signal.SIGTERM)
        _wait_for(supervisor, settings.general.stop_timeout_s + STOP_GRACE_S)
        console_for(as_json=as_json).print(f"Stopped the roles (pid {supervisor.pid}).")
    asyncio.run(end_leftovers(folder, patience_s=settings.general.stop_timeout_s))
    stopped = Servers.from_settings(settings).stop_found()
    if as_json:
        print_json({"roles_stopped": supervisor is not None, "servers_stopped": stopped})
        return
    console.print(f"Stopped {' and '.join(stopped)}." if stopped else "No embedded server was running.")


def status(
    *,
    urls: Annotated[bool, typer.Option("--urls", help="Show the database's URL with its password, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which servers and roles run, where, and whether they are ready; start and make nothing.

    [dim]Example:[/dim] [cyan]tallybook status --urls[/cyan]
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    parts = [*_server_parts(settings, servers), *asyncio.run(_role_parts(settings))]
    environment = servers.environment() if urls else {}
    if as_json:
        print_json({"data_dir": str(data_path(settings)), "parts": parts, "environment": environment})
        return
    columns = {"part": "part", "state": "state", "pid": "pid", "address": "address"}
    print_rows(console, columns, [_colored(part) for part in parts], title=f"Tallybook on {data_path(settings)}")
    for name, value in environment.items():
        console.print(f"{name}={value}", soft_wrap=True, highlight=False)


Part = dict[str, str | int | None]
_COLORS = {"running": "green", "ready": "green", "not ready": "yellow", "does not answer": "yellow"}


def _server_parts(settings: Settings, servers: Servers) -> Iterator[Part]:
    for name, server, configured in (
        ("PostgreSQL", servers.postgres, "TALLYBOOK_DATABASE_URL"),
        ("Kafka", servers.kafka, settings.kafka.bootstrap),
    ):
        if server is None:
            yield {"part": name, "state": "configured", "pid": None, "address": configured, "why": None}
        elif server.find():
            address = f"127.0.0.1:{server.port}"
            yield {"part": name, "state": "running", "pid": server.pid, "address": address, "why": None}
        else:
            yield {"part": name, "state": "stopped", "pid": None, "address": None, "why": None}


async def _role_parts(settings: Settings) -> list[Part]:
    roster = read_roster(roles_folder(settings))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
        return [await _role_part(session, role) for role in (roster.roles if roster else ())]


async def _role_part(session: aiohttp.ClientSession, role: RunningRole) -> Part:
    part: Part = {"part": role.name, "state": "ended", "pid": role.pid, "address": None, "why": None}
    if find_process(role.pid, role.started_at) is None:
        return part
    if not role.port:
        return {**part, "state": "ready"}
    endpoint = Endpoint(role.port, role.certificate_file)
    found = await endpoint.readiness(session)
    return {**part, "state": found.state, "address": endpoint.url, "why": found.why or None}


def _colored(part: Part) -> Part:
    color, why = _COLORS.get(str(part["state"])), part.get("why")
    state = str(part["state"]) if color is None else f"[{color}]{part['state']}[/{color}]"
    return {**part, "state": f"{state}: {escape(str(why))}" if why else state}


def dev(*, as_json: AsJson = False) -> None:
    """Start the servers, every role and a small seeded tenant; Ctrl-C stops what was started.

    A second start finds its data. [dim]Example:[/dim] [cyan]TALLYBOOK_API_PORT=9000 tallybook dev[/cyan]
    """
    if not run_until_stopped(_dev(load_settings(), as_json=as_json)):
        console_for(as_json=as_json).print("Stopped.")


def migrate_database(*, as_json: AsJson = False) -> None:
    """Bring the database to the newest schema; nothing happens if it is there already.

    [dim]Example:[/dim] [cyan]TALLYBOOK_DATABASE_OWNER_URL=postgresql://… tallybook migrate[/cyan]
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    if servers.postgres is not None and not servers.postgres.find():
        raise SettingsError("No database: set TALLYBOOK_DATABASE_URL, or start the embedded one with `tallybook up`.")
    asyncio.run(migrate(settings if servers.postgres is None else servers.connected(settings), servers))
    if as_json:
        print_json({"migrated": True})
    else:
        console.print("The database has the newest schema.")


async def _dev(settings: Settings, *, as_json: bool) -> None:
    on = console_for(as_json=as_json)
    async with running_stack(settings, tell=lambda text: tell_happening(text, on=on)) as stack:
        tell_servers(settings, stack.servers, on=on)
        await start_roles(stack, on=on)
        key = await load(SEED)(stack)
        link = await load(SIGN_IN_LINK)(stack)
        if as_json:
            logs = str(roles_folder(settings) / "logs")
            print_json({"api": stack.api_url, "api_key": key, "sign_in": link, "logs": logs})
        else:
            _tell_how_to_begin(settings, stack, key, link)
        await Watch(stack.servers, stack.supervisor, settings.supervisor).run()


def _tell_how_to_begin(settings: Settings, stack: Stack, key: str, link: str) -> None:
    console.print(
        Panel.fit(
            f"API   [cyan]{stack.api_url}[/cyan] (its documentation: {stack.api_url}/docs)\n"
            f"Key   [cyan]{key}[/cyan]\n"
            f"Logs  {roles_folder(settings) / 'logs'}",
            title="Tallybook runs; Ctrl-C stops it",
        )
    )
    # Outside the frame and unwrapped, so that it can be copied.
    console.print(f"Sign in, once, within 10 minutes: {link}", soft_wrap=True, highlight=False)
    console.print(f'curl -H "Authorization: Bearer {key}" {stack.api_url}/v1/customers', soft_wrap=True)


def tell_happening(text: str, *, on: Console = console) -> None:
    """Say on the console what happened to a server or a role."""
    on.print(f"[yellow]{datetime.now().astimezone():%H:%M:%S}[/yellow] {escape(text)}", soft_wrap=True)


async def start_roles(stack: Stack, *, on: Console = console) -> None:
    """Start one process of each role and wait until all are ready."""
    for role in ROLES:
        await stack.supervisor.start(role)
    await stack.supervisor.wait_ready()
    on.print(f"Roles ready: {', '.join(process.name for process in stack.supervisor.roles)}")


def tell_servers(settings: Settings, servers: Servers, *, on: Console = console) -> None:
    """Say where the embedded servers are, and where the data is if that is not the data folder."""
    postgres, kafka = servers.postgres, servers.kafka
    if postgres is not None:
        on.print(f"PostgreSQL on 127.0.0.1:{postgres.port} (pid {postgres.pid})")
        _tell_moved(settings, postgres, on=on)
    if kafka is not None:
        on.print(f"Kafka on {kafka.bootstrap} (pid {kafka.pid})")


def _tell_moved(settings: Settings, postgres: EmbeddedPostgres, *, on: Console) -> None:
    if postgres.folder.parent != data_path(settings):
        on.print(
            f"[yellow]PostgreSQL does not run as root, and its user cannot reach {data_path(settings)}; "
            f"its data is in {postgres.folder}.[/yellow]"
        )


def _wait_for(process: psutil.Process, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while find_process(process.pid, process.create_time()) is not None:
        if time.monotonic() > deadline:
            raise SupervisorError(f"The process {process.pid} did not stop within {timeout_s:.0f} s; look at its log.")
        time.sleep(POLL_S)
