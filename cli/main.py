"""`tallybook`: the command line. Each command group is a file of its own beside this one, added below."""

import asyncio
import gc
import sys
from dataclasses import asdict
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.exceptions import TyperException

from cli import audit, auth, dead_letters, demo, projections, relay, search, servers, tenants, users
from cli.faults.command import faults
from cli.output import (
    JSON_OPTION,
    AnswerIsNo,
    AsJson,
    FailureKind,
    console_for,
    print_failure,
    print_json,
    print_table,
)
from host.registry import ROLES, load
from infra.settings import TelemetrySettings, load_settings, setting_rows, settings_markdown
from infra.telemetry import configure_logging

app = typer.Typer(
    name="tallybook",
    help="An event-sourced billing ledger on Kafka and PostgreSQL. [dim]Start with[/dim] [cyan]tallybook dev[/cyan].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Local variables hold secrets and personal data.
    pretty_exceptions_show_locals=False,
)
GARBAGE_THRESHOLDS: Final = (20_000, 20, 50)
"""See `gc.set_threshold`; Python's own are (700, 10, 10)."""
SERVERS = "Servers and roles"
SETTINGS = "Settings"
PROOF = "Audit, replay and repair"

app.command(rich_help_panel=SERVERS)(servers.dev)
app.command(rich_help_panel=SERVERS)(demo.demo)
app.command(rich_help_panel=SERVERS)(servers.up)
app.command(rich_help_panel=SERVERS)(servers.down)
app.command(rich_help_panel=SERVERS)(servers.status)
app.command("migrate", rich_help_panel=SERVERS)(servers.migrate_database)
app.add_typer(tenants.app, name="tenants", rich_help_panel=SETTINGS)
app.add_typer(users.app, name="users", rich_help_panel=SETTINGS)
app.add_typer(auth.app, name="auth", rich_help_panel=SETTINGS)
app.add_typer(audit.app, name="audit", rich_help_panel=PROOF)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=PROOF)
app.add_typer(relay.app, name="relay", rich_help_panel=PROOF)
app.add_typer(projections.app, name="projections", rich_help_panel=PROOF)
app.add_typer(search.app, name="search", rich_help_panel=PROOF)
app.command(rich_help_panel=PROOF)(faults)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it with the option's value
    if wanted:
        from infra.release import RELEASE

        typer.echo(f"tallybook {RELEASE}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the release."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(rich_help_panel=SERVERS)
def run(role: Annotated[str, typer.Argument(help=f"One of: {', '.join(ROLES)}.")], *, as_json: AsJson = False) -> None:
    """Run one role in this process until SIGTERM, with the servers that the environment names.

    With --json its log is JSON lines, whatever TALLYBOOK_TELEMETRY_LOG_FORMAT says.
    [dim]Example:[/dim] [cyan]TALLYBOOK_RELAY_PROBE_PORT=9101 tallybook run relay[/cyan]
    """
    import structlog

    from host.waiting import EXIT_UNAVAILABLE, ServersAway, await_servers, is_away

    if role not in ROLES:
        raise typer.BadParameter(f"{role} is not a role; there are {', '.join(ROLES)}.")
    settings = load_settings()
    telemetry = settings.telemetry.model_copy(update={"log_format": "json"}) if as_json else settings.telemetry
    configure_logging(telemetry, role=role)
    start = load(ROLES[role])
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


@app.command("settings", rich_help_panel=SETTINGS)
def show_settings(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, for the documentation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every environment variable that Tallybook reads, with its default, its unit and its meaning.

    [dim]Example:[/dim] [cyan]tallybook settings | grep WRITER[/cyan]
    """
    console = console_for(as_json=as_json)
    if as_json:
        print_json([asdict(row) for row in setting_rows()])
        return
    if markdown:
        console.print(settings_markdown(), markup=False, highlight=False, soft_wrap=True)
        return
    table = Table("variable", "default", "unit", "meaning")
    part = ""
    for row in setting_rows():
        if row.part != part:
            part = row.part
            table.add_section()
            table.add_row(f"[bold]{part}[/bold]")
        table.add_row(row.variable, row.default, row.unit, row.about)
    print_table(console, table)


@app.command("openapi", rich_help_panel=SETTINGS)
def show_openapi(*, as_json: AsJson = True) -> None:
    """Print the API's OpenAPI 3.1 document, for generators of clients; no server is needed. It is JSON as it is.

    [dim]Example:[/dim] [cyan]tallybook openapi > openapi.json[/cyan]
    """
    from api.app import RESOURCES
    from api.http.documentation import describe, openapi

    describe(RESOURCES)
    print_json(openapi())


def main() -> None:
    """Run the command line. What a user can mend is told in words, without a traceback.

    What is logged on the way goes to standard error: standard output is for answers, with --json for one document.
    """
    configure_logging(TelemetrySettings(log_format="console", log_level="warning"), role="cli", stream=sys.stderr)
    as_json = JSON_OPTION in sys.argv[1:]
    try:
        # Standing alone, it would tell of a wrong command line by itself, and in a frame.
        code = app(standalone_mode=not as_json)
    except TyperException as error:
        _fail("not_understood", error.format_message(), as_json=as_json, exit_code=error.exit_code)
    except typer.Abort:
        _fail("refused", "It was not agreed to; nothing was done.", as_json=as_json)
    except AnswerIsNo as error:
        _fail("refused", str(error), as_json=as_json)
    except Exception as error:
        from cli.failures import explain

        words = explain(error)
        if words is None:
            if as_json:
                print_failure("failed", f"Nobody foresaw this: {type(error).__name__}: {error}")
            raise
        _fail("failed", words, as_json=as_json)
    raise SystemExit(code)


def _fail(kind: FailureKind, words: str, *, as_json: bool, exit_code: int = 1) -> NoReturn:
    if as_json:
        print_failure(kind, words)
    Console(stderr=True).print(f"[red]Error:[/red] {escape(words)}", soft_wrap=True, highlight=False)
    raise SystemExit(exit_code) from None


if __name__ == "__main__":
    main()
