"""`tallybook users`: people who sign in, as the operator lets the first of them in."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Final, NamedTuple

import typer

from api.http.callers import public_url
from cli import identity_links
from cli.operators_commands import issue
from cli.output import AnswerIsNo, AsJson, console_for, print_json
from cli.people import opened, register_user
from cli.user_import_command import import_from_file
from domain.identity.passwords import InvalidPassword, WeakPassword, check_password
from domain.identity.permissions import Role
from domain.identity.team import AddMember
from domain.identity.tenant import PLATFORM
from domain.identity.user import (
    EraseUser,
    MakeSuperAdmin,
    ReactivateUser,
    SuspendUser,
    UnmakeSuperAdmin,
)
from domain.kernel.identifiers import USER
from domain.kernel.stream import Command
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.password_hashing import common_passwords
from infra.ids import new_id
from infra.settings import Settings, vault_master_key
from infra.vault import Vault

app = typer.Typer(help="People who sign in.", no_args_is_help=True)
app.command("import")(import_from_file)
app.add_typer(identity_links.app)

LINKS_LAST: Final = {Purpose.RESET_PASSWORD: timedelta(hours=24), Purpose.FIRST_LOG_IN: timedelta(minutes=10)}


class NoSuchTenant(Exception):
    """There is no tenant of this id."""


class Admin(NamedTuple):
    """Whom `create_admin` found or made. `token` is that of the link, where one was wanted."""

    user_id: str
    is_new: bool
    is_new_member: bool
    token: str | None


async def create_admin(
    dsn: str,
    settings: Settings,
    *,
    tenant_id: str,
    email: str,
    name: str = "",
    password: str | None = None,
    link: Purpose | None = None,
) -> Admin:
    """Make a user, verified, and an ADMIN of the tenant. Whoever is there already stays as they are, and becomes ADMIN
    if they are no member. With a token for a link of this purpose. Raises NoSuchTenant, and WeakPassword or
    InvalidPassword.
    """
    async with opened(dsn, settings) as (writer, identity):
        if not await identity.pool.fetchval("SELECT true FROM access.tenants WHERE tenant_id = $1", tenant_id):
            raise NoSuchTenant(tenant_id)
        found = await identity.users.by_address(email)
        user_id = new_id(USER) if found is None else found.user_id
        if found is None:
            password_hash = None
            if password is not None:
                chosen = check_password(password, common=common_passwords(), address=email, name=name)
                password_hash = await identity.hashing.hash(chosen)
            vault = Vault(vault_master_key(settings))
            await register_user(
                writer, vault, identity.keyring, user_id, email=email, name=name, password_hash=password_hash
            )
        is_new_member = not any(each.tenant_id == tenant_id for each in await identity.users.memberships(user_id))
        if is_new_member:
            command = AddMember(tenant_id=tenant_id, user_id=user_id, role=Role.ADMIN, by=None)
            refused = await issue(writer, tenant_id, command)
            assert refused is None, refused
        token = None
        if link is not None:
            grant = Grant(purpose=link, subject_id=user_id)
            token = await identity.one_time.make(grant, lasts=LINKS_LAST[link], now=identity.clock())
        return Admin(user_id, found is None, is_new_member, token)


class NoSuchUser(Exception):
    """Nobody signs in with this address."""


async def set_super_admin(dsn: str, settings: Settings, *, email: str, is_super_admin: bool) -> str:
    """Let a user look after the cell, or no more; their id. Raises NoSuchUser."""
    wanted = MakeSuperAdmin if is_super_admin else UnmakeSuperAdmin
    return await change_user(dsn, settings, email=email, command=lambda user_id: wanted(user_id=user_id))


async def change_user(
    dsn: str, settings: Settings, *, email: str, command: Callable[[str], Command], erases: bool = False
) -> str:
    """Do something to the user of an address; their id. Raises NoSuchUser."""
    async with opened(dsn, settings) as (writer, identity):
        found = await identity.users.by_address(email)
        if found is None:
            raise NoSuchUser(email)
        erased = found.user_id if erases else None
        refused = await issue(writer, PLATFORM, command(found.user_id), erases=erased)
        assert refused is None, refused
        return found.user_id


def reset_link(settings: Settings, token: str) -> str:
    """Where the password is set. The token is in the fragment, which no browser sends and no server logs."""
    return f"{public_url(settings)}/reset-password#token={token}"


@app.command("create-admin")
def create_first_admin(
    *,
    tenant: Annotated[str, typer.Option(help="The tenant whose ADMIN they are to be.")],
    email: Annotated[str, typer.Option(help="The address that they sign in with.")],
    name: Annotated[str, typer.Option(help="Their name.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Set no password; print a link that sets it once, within 24 hours.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a user who is an ADMIN of a tenant: the first one, whom nobody can invite.

    The password is asked for, and never stands in the command line. A user of this address who is there already keeps
    theirs.
    [dim]Example:[/dim] [cyan]tallybook users create-admin --tenant acme --email ada@example.com[/cyan]
    """
    if "@" not in email:
        raise typer.BadParameter("That is no e-mail address.", param_hint="--email")
    if link and password_stdin:
        raise typer.BadParameter("--link sets no password, so it does not go with --password-stdin.")
    settings = reached_settings(kafka=False)
    password = None
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not link:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        made = asyncio.run(
            create_admin(
                owner_dsn(settings),
                settings,
                tenant_id=tenant,
                email=email,
                name=name,
                password=password,
                link=Purpose.RESET_PASSWORD if link else None,
            )
        )
    except NoSuchTenant:
        raise AnswerIsNo(f"There is no tenant {tenant}; `tallybook tenants create {tenant}` makes it.") from None
    except WeakPassword as weak:
        raise AnswerIsNo(f"That password is too easily guessed: {weak.details['reason']}.") from None
    except InvalidPassword as invalid:
        raise AnswerIsNo(invalid.describe()) from None
    url = None if made.token is None else reset_link(settings, made.token)
    if as_json:
        print_json({"user": made.user_id, "tenant": tenant, "new": made.is_new, "link": url})
        return
    console = console_for(as_json=False)
    console.print(_told(made, tenant), soft_wrap=True)
    if url is not None:
        console.print("This link sets their password, once, within 24 hours:", soft_wrap=True)
        console.print(url, highlight=False, soft_wrap=True)
        console.print(
            "Where you serve no page at that path yet, what stands behind token= does it by hand: "
            f'POST {public_url(settings)}/v1/auth/reset-password with {{"token": …, "password": …}}.',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _told(made: Admin, tenant: str) -> str:
    if made.is_new:
        return f"{made.user_id} is an ADMIN of {tenant}."
    if made.is_new_member:
        return f"{made.user_id} was there already, with their own password, and is now an ADMIN of {tenant}."
    return f"{made.user_id} is a member of {tenant} already; nothing was changed."


Address = Annotated[str, typer.Option("--email", help="The address that they sign in with.")]


@app.command("make-super-admin")
def make_super_admin(*, email: Address, as_json: AsJson = False) -> None:
    """Let a user look after the cell: see which tenants there are, and enter each for an hour, with a reason.

    Entering is an event in that tenant, and personal data stay masked there until they are asked for. Nobody can be
    made one but here.
    [dim]Example:[/dim] [cyan]tallybook users make-super-admin --email ada@example.com[/cyan]
    """
    _set_super_admin(email, is_super_admin=True, as_json=as_json)


@app.command("unmake-super-admin")
def unmake_super_admin(*, email: Address, as_json: AsJson = False) -> None:
    """Let a user look after the cell no more, at once, wherever they are.

    [dim]Example:[/dim] [cyan]tallybook users unmake-super-admin --email ada@example.com[/cyan]
    """
    _set_super_admin(email, is_super_admin=False, as_json=as_json)


@app.command("suspend")
def suspend(*, email: Address, as_json: AsJson = False) -> None:
    """Let a user sign in no more, and end their sessions, at once; their memberships stay for when they are back.

    [dim]Example:[/dim] [cyan]tallybook users suspend --email ada@example.com[/cyan]
    """
    user_id = _changed(email, lambda user_id: SuspendUser(user_id=user_id))
    _tell(user_id, {"status": "suspended"}, f"{user_id} is suspended.", as_json=as_json)


@app.command("reactivate")
def reactivate(*, email: Address, as_json: AsJson = False) -> None:
    """Let a suspended user sign in again.

    [dim]Example:[/dim] [cyan]tallybook users reactivate --email ada@example.com[/cyan]
    """
    user_id = _changed(email, lambda user_id: ReactivateUser(user_id=user_id))
    _tell(user_id, {"status": "active"}, f"{user_id} may sign in again.", as_json=as_json)


@app.command("erase")
def erase(
    *,
    email: Address,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: there is no way back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy a user's name, address and password for good. Teams know them by an id that leads nowhere.

    [dim]Example:[/dim] [cyan]tallybook users erase --email ada@example.com --yes[/cyan]
    """
    if not yes:
        typer.confirm("Their name, address and password are destroyed for good. Go on?", abort=True, err=True)
    user_id = _changed(email, lambda user_id: EraseUser(user_id=user_id), erases=True)
    _tell(user_id, {"status": "erased"}, f"{user_id} is erased.", as_json=as_json)


def _set_super_admin(email: str, *, is_super_admin: bool, as_json: bool) -> None:
    wanted = MakeSuperAdmin if is_super_admin else UnmakeSuperAdmin
    user_id = _changed(email, lambda user_id: wanted(user_id=user_id))
    told = "looks after the cell" if is_super_admin else "looks after the cell no more"
    _tell(user_id, {"is_super_admin": is_super_admin}, f"{user_id} {told}.", as_json=as_json)


def _changed(email: str, command: Callable[[str], Command], *, erases: bool = False) -> str:
    settings = reached_settings(kafka=False)
    try:
        return asyncio.run(change_user(owner_dsn(settings), settings, email=email, command=command, erases=erases))
    except NoSuchUser:
        raise AnswerIsNo("Nobody signs in with that address; `tallybook users create-admin` makes a user.") from None


def _tell(user_id: str, answer: dict[str, object], told: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"user": user_id, **answer})
    else:
        console_for(as_json=False).print(told)
