"""`tallybook settings` and `tallybook openapi`: what can be set, and what the API takes. No server is needed."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cli.output import AsJson, console_for, print_json, print_table
from infra.settings import setting_rows, settings_markdown


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


def show_openapi(*, as_json: AsJson = True) -> None:
    """Print the API's OpenAPI 3.1 document, for generators of clients; no server is needed. It is JSON as it is.

    [dim]Example:[/dim] [cyan]tallybook openapi > openapi.json[/cyan]
    """
    from api.app import RESOURCES
    from api.http.documentation import describe, openapi

    describe(RESOURCES)
    print_json(openapi())
