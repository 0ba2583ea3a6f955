"""`tallybook users import`: reads the file, shows how far it has come, and tells what came of it."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.import_progress import import_bar
from cli.line_file import Unreadable
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from cli.user_file import read_users
from cli.user_import import Came, CannotImport, Imported, import_users
from domain.identity.permissions import Role, UnknownRole, role_named
from domain.identity.team import OF_TEAMS
from host.addresses import reached_settings
from host.configured import owner_dsn

WRONG_LINES_SHOWN: Final = 20


def import_from_file(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a header (.csv) or a JSON object a line: email, name, password_hash, role."),
    ],
    *,
    tenant: Annotated[str, typer.Option(help="The tenant whose members they are to be.")],
    role: Annotated[str, typer.Option(help="The role of lines that say none.")] = Role.VIEWER.value,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make users of another system's, with the passwords that they have: bcrypt hashes, replaced when they sign in.

    The whole file is checked first. Who is there already, by their address, keeps name, password and role; so what was
    cut off is run again. Without a hash they choose a password by "forgot password".
    [dim]Example:[/dim] [cyan]tallybook users import people.csv --tenant acme --dry-run[/cyan]
    """
    try:
        default_role = role_named(role)
    except UnknownRole:
        raise typer.BadParameter("There is no such role.", param_hint="--role") from None
    if default_role not in OF_TEAMS:
        raise typer.BadParameter("No member of a team has this role.", param_hint="--role")
    settings = reached_settings(kafka=False)
    try:
        users, wrong = read_users(file)
    except Unreadable as unreadable:
        raise AnswerIsNo(f"{unreadable}; nothing was imported.") from None
    if wrong:
        shown, more = wrong[:WRONG_LINES_SHOWN], len(wrong) - WRONG_LINES_SHOWN
        told = "\n".join([*shown, *([f"and {more} more"] if more > 0 else [])])
        raise AnswerIsNo(f"{file} cannot be imported as it is; nothing was imported.\n{told}")
    if any(user.password_hash for user in users) and find_spec("bcrypt") is None:
        raise AnswerIsNo("Such password hashes need bcrypt: install tallybook[import], here and where the API runs.")
    try:
        with import_bar(len(users)) as tell:
            done = asyncio.run(
                import_users(
                    owner_dsn(settings),
                    settings,
                    users,
                    tenant_id=tenant,
                    default_role=default_role,
                    is_dry=dry_run,
                    tell=tell,
                )
            )
    except CannotImport as error:
        raise AnswerIsNo(str(error)) from None
    _report(tenant, done, is_dry=dry_run, as_json=as_json)


def _report(tenant: str, done: Sequence[Imported], *, is_dry: bool, as_json: bool) -> None:
    """How many lines came to what, and which of them want a look."""
    counts = {came.value: sum(each.came is came for each in done) for came in Came}
    looks = [each for each in done if each.came in (Came.OTHER_ROLE, Came.REFUSED)]
    rows = [{"line": each.line, "came": each.came.value, "user": each.user_id, "why": each.reason} for each in looks]
    if as_json:
        print_json({"tenant": tenant, "dry_run": is_dry, "lines": len(done), **counts, "look_at": rows})
    else:
        console = console_for(as_json=False)
        would = "would be " if is_dry else ""
        console.print(
            f"{len(done)} lines: {would}{counts[Came.NEW]} new users, {counts[Came.JOINED]} who were there and joined "
            f"{tenant}; {counts[Came.ALREADY]} were members already.",
            soft_wrap=True,
        )
        if rows:
            print_rows(console, {"line": "line", "came": "came to", "user": "user", "why": "why"}, rows)
    if counts[Came.REFUSED]:
        raise typer.Exit(1)
