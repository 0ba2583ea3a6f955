"""`tallybook`: the command line. Each command group is a file of its own beside this one, added below."""

import gc
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from cli import audit, dead_letters, demo, projections, relay, servers, tenants
from cli.faults.command import faults
from host.embedded.process import EmbeddedServerError
from host.registry import ROLES, load
from host.supervisor import SupervisorError
from infra.settings import SettingsError, load_settings, setting_rows, settings_markdown
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
app.add_typer(audit.app, name="audit", rich_help_panel=PROOF)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=PROOF)
app.add_typer(relay.app, name="relay", rich_help_panel=PROOF)
app.add_typer(projections.app, name="projections", rich_help_panel=PROOF)
app.command(rich_help_panel=PROOF)(faults)


@app.command(rich_help_panel=SERVERS)
def run(role: Annotated[str, typer.Argument(help=f"One of: {', '.join(ROLES)}.")]) -> None:
    """Run one role in this process until SIGTERM, with the servers that the environment names.

    [dim]Example:[/dim] [cyan]TALLYBOOK_RELAY_PROBE_PORT=9101 tallybook run relay[/cyan]
    """
    if role not in ROLES:
        raise typer.BadParameter(f"{role} is not a role; there are {', '.join(ROLES)}.")
    settings = load_settings()
    configure_logging(settings.telemetry, role=role)
    start = load(ROLES[role])
    _collect_seldom()
    start(settings)


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
) -> None:
    """Show every environment variable that Tallybook reads, with its default, its unit and its meaning.

    [dim]Example:[/dim] [cyan]tallybook settings | grep WRITER[/cyan]
    """
    console = Console()
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
    console.print(table)


def main() -> None:
    """Run the command line. What a user can mend is told in words, without a traceback."""
    try:
        app()
    except (EmbeddedServerError, SettingsError, SupervisorError) as error:
        Console(stderr=True).print(f"[red]Error:[/red] {error}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
