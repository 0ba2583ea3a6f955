"""`tallybook up`, `down`, `status`, `migrate` and `dev`: the servers, and everything at once."""

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from host.embedded.postgres import EmbeddedPostgres
from host.embedded.process import find_process
from host.embedded.servers import Servers
from host.registry import ROLES, SEED, load
from host.stack import Stack, migrate, roles_folder, run_until_stopped, running_stack
from host.supervisor import SupervisorError, end_leftovers, read_roster
from host.watch import Watch, failing_parts
from infra.settings import Settings, SettingsError, data_dir, load_settings

console = Console()
PROBE_TIMEOUT_S = 5.0
POLL_S = 0.05
STOP_GRACE_S = 60.0


def up() -> None:
    """Start PostgreSQL and Kafka, and leave them running.

    Uses the ones that already run in the data folder. [dim]Example:[/dim] [cyan]tallybook up && tallybook status[/cyan]
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    start = time.monotonic()
    servers.start(detached=True)
    asyncio.run(migrate(servers.connected(settings), servers))
    tell_servers(settings, servers)
    console.print(f"Ready after {time.monotonic() - start:.1f} s. [cyan]tallybook down[/cyan] stops them.")


def down() -> None:
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
        console.print(f"Stopped the roles (pid {supervisor.pid}).")
    asyncio.run(end_leftovers(folder, patience_s=settings.general.stop_timeout_s))
    stopped = Servers.from_settings(settings).stop_found()
    console.print(f"Stopped {' and '.join(stopped)}." if stopped else "No embedded server was running.")


def status(
    *,
    urls: Annotated[bool, typer.Option("--urls", help="Show the database's URL with its password, too.")] = False,
) -> None:
    """Show which servers and roles run, where, and whether they are ready.

    [dim]Example:[/dim] [cyan]tallybook status --urls[/cyan]
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    table = Table(title=f"Tallybook on {data_dir(settings)}")
    for column in ("part", "state", "pid", "address"):
        table.add_column(column)
    if servers.postgres is None:
        table.add_row("PostgreSQL", "configured", "", "TALLYBOOK_DATABASE_URL")
    elif servers.postgres.find():
        table.add_row("PostgreSQL", "[green]running[/green]", str(servers.postgres.pid), f":{servers.postgres.port}")
    else:
        table.add_row("PostgreSQL", "stopped", "", "")
    if servers.kafka is None:
        table.add_row("Kafka", "configured", "", settings.kafka.bootstrap or "")
    elif servers.kafka.find():
        table.add_row("Kafka", "[green]running[/green]", str(servers.kafka.pid), servers.kafka.bootstrap)
    else:
        table.add_row("Kafka", "stopped", "", "")
    roster = read_roster(roles_folder(settings))
    for role in roster.roles if roster else ():
        if find_process(role.pid, role.started_at) is None:
            table.add_row(role.name, "ended", str(role.pid), "")
        else:
            url = f"http://127.0.0.1:{role.port}" if role.port else ""
            table.add_row(role.name, _readiness(role.port), str(role.pid), url)
    console.print(table)
    if urls:
        for name, value in servers.environment().items():
            console.print(f"{name}={value}", soft_wrap=True, highlight=False)


def dev() -> None:
    """Start the servers, every role and a small seeded tenant; Ctrl-C stops what was started.

    A second start finds its data. [dim]Example:[/dim] [cyan]TALLYBOOK_API_PORT=9000 tallybook dev[/cyan]
    """
    if not run_until_stopped(_dev(load_settings())):
        console.print("Stopped.")


def migrate_database() -> None:
    """Bring the database to the newest schema; nothing happens if it is there already.

    [dim]Example:[/dim] [cyan]TALLYBOOK_DATABASE_OWNER_URL=postgresql://… tallybook migrate[/cyan]
    """
    settings = load_settings()
    servers = Servers.from_settings(settings)
    if servers.postgres is not None and not servers.postgres.find():
        raise SettingsError("No database: set TALLYBOOK_DATABASE_URL, or start the embedded one with `tallybook up`.")
    asyncio.run(migrate(settings if servers.postgres is None else servers.connected(settings), servers))
    console.print("The database has the newest schema.")


async def _dev(settings: Settings) -> None:
    async with running_stack(settings, tell=tell_happening) as stack:
        tell_servers(settings, stack.servers)
        await start_roles(stack)
        key = await load(SEED)(stack)
        console.print(
            Panel.fit(
                f"API   [cyan]{stack.api_url}[/cyan] (its documentation: {stack.api_url}/docs)\n"
                f"Key   [cyan]{key}[/cyan]\n"
                f"Logs  {roles_folder(settings) / 'logs'}",
                title="Tallybook runs; Ctrl-C stops it",
            )
        )
        # Outside the frame and unwrapped, so that it can be copied.
        console.print(f'curl -H "Authorization: Bearer {key}" {stack.api_url}/v1/customers', soft_wrap=True)
        await Watch(stack.servers, stack.supervisor, settings.supervisor).run()


def tell_happening(text: str) -> None:
    """Say on the console what happened to a server or a role."""
    console.print(f"[yellow]{datetime.now().astimezone():%H:%M:%S}[/yellow] {escape(text)}", soft_wrap=True)


async def start_roles(stack: Stack) -> None:
    """Start one process of each role and wait until all are ready."""
    for role in ROLES:
        await stack.supervisor.start(role)
    await stack.supervisor.wait_ready()
    console.print(f"Roles ready: {', '.join(process.name for process in stack.supervisor.roles)}")


def tell_servers(settings: Settings, servers: Servers) -> None:
    """Say where the embedded servers are, and where the data is if that is not the data folder."""
    postgres, kafka = servers.postgres, servers.kafka
    if postgres is not None:
        console.print(f"PostgreSQL on 127.0.0.1:{postgres.port} (pid {postgres.pid})")
        _tell_moved(settings, postgres)
    if kafka is not None:
        console.print(f"Kafka on {kafka.bootstrap} (pid {kafka.pid})")


def _tell_moved(settings: Settings, postgres: EmbeddedPostgres) -> None:
    if postgres.folder.parent != data_dir(settings):
        console.print(
            f"[yellow]PostgreSQL does not run as root, and its user cannot reach {data_dir(settings)}; "
            f"its data is in {postgres.folder}.[/yellow]"
        )


def _readiness(port: int) -> str:
    """Whether a role is ready, and what fails if it is not."""
    if not port:
        return "[green]ready[/green]"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=PROBE_TIMEOUT_S):
            return "[green]ready[/green]"
    except urllib.error.HTTPError as answer:
        return f"[yellow]not ready[/yellow]: {escape(failing_parts(answer.read()) or str(answer.code))}"
    except OSError as error:
        return f"[yellow]does not answer[/yellow]: {escape(str(error))}"


def _wait_for(process: psutil.Process, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while find_process(process.pid, process.create_time()) is not None:
        if time.monotonic() > deadline:
            raise SupervisorError(f"The process {process.pid} did not stop within {timeout_s:.0f} s; look at its log.")
        time.sleep(POLL_S)
