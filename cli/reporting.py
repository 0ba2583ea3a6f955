"""`tallybook reporting`: who reads the views that BI tools ask, and what there is to read."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from cli.api_keys import TenantId, no_such_tenant
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from host.addresses import reached_settings
from host.configured import owner_dsn
from projections.reports.logins import (
    LOGIN,
    LoginTaken,
    NoLogin,
    NoTenant,
    default_login,
    grant_login,
    list_logins,
    revoke_login,
)

app = typer.Typer(help="The SQL views that BI tools read, and their logins.", no_args_is_help=True)


def _checked_login(login: str) -> str:
    if login and not LOGIN.fullmatch(login):
        raise typer.BadParameter("A login's name is 3 to 63 lower-case letters, digits and underscores.")
    return login


@app.command("grant-login")
def grant(
    tenant_id: TenantId,
    *,
    login: Annotated[
        str, typer.Option(help="Its name; without one tallybook_reports_ and the tenant.", callback=_checked_login)
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Let a login of PostgreSQL read one tenant's reports, and nothing else. Its password is shown once.

    It is made, or gets a new password where the tenant has it already; sessions that run go on.

    [dim]Example:[/dim] [cyan]tallybook reporting grant-login acme[/cyan]
    """
    settings = reached_settings(kafka=False)
    name = login or default_login(tenant_id)
    if not LOGIN.fullmatch(name):
        raise typer.BadParameter("The tenant's id is too long to make a login's name of it.", param_hint="--login")
    dsn = owner_dsn(settings)
    try:
        password = asyncio.run(grant_login(dsn, settings.database, tenant_id=tenant_id, login=name))
    except NoTenant:
        raise no_such_tenant(tenant_id) from None
    except LoginTaken:
        raise AnswerIsNo(
            f"There is a role {name} on this server already that is not {tenant_id}'s; nothing was made. "
            "Choose another name by --login."
        ) from None
    url = _url(dsn, name, password)
    if as_json:
        print_json({"tenant_id": tenant_id, "login": name, "password": password, "url": url})
        return
    console = console_for(as_json=False)
    console.print(
        f"The login [bold]{name}[/bold] reads {tenant_id}'s reports. Its address, with the password, is shown once:",
        soft_wrap=True,
    )
    console.print(url, highlight=False, soft_wrap=True)


def _url(dsn: str, login: str, password: str) -> str:
    """Where the login connects to: what the settings name, or localhost."""
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2] or "localhost"
    return f"postgresql://{login}:{quote(password)}@{place}{parts.path}"


@app.command("revoke-login")
def revoke(login: Annotated[str, typer.Argument(help="The login's name.")], *, as_json: AsJson = False) -> None:
    """End a reporting login and its sessions, at once and for good.

    [dim]Example:[/dim] [cyan]tallybook reporting revoke-login tallybook_reports_acme[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        tenant_id = asyncio.run(revoke_login(owner_dsn(settings), settings.database, login=login))
    except NoLogin:
        raise AnswerIsNo(f"There is no reporting login {login}; `tallybook reporting logins` shows them.") from None
    if as_json:
        print_json({"login": login, "tenant_id": tenant_id, "revoked": True})
    else:
        console_for(as_json=False).print(f"{login} reads nothing any more.")


@app.command("logins")
def logins(*, as_json: AsJson = False) -> None:
    """Show who reads the reports of which tenant.

    [dim]Example:[/dim] [cyan]tallybook reporting logins --json[/cyan]
    """
    settings = reached_settings(kafka=False)
    rows: list[dict[str, Any]] = [
        each._asdict() for each in asyncio.run(list_logins(owner_dsn(settings), settings.database))
    ]
    if as_json:
        print_json(rows)
        return
    columns = {"tenant_id": "tenant", "login": "login", "granted_at": "since"}
    print_rows(console_for(as_json=False), columns, rows)
