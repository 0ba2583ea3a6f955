"""`tallybook users link`, `unlink` and `links`: members as foreign issuers of access tokens know them."""

import asyncio
from typing import Annotated, Any, NamedTuple

import typer

from api import letters
from cli.operators_commands import connected, issue
from cli.output import AnswerIsNo, AsJson, console_for, print_json, print_rows
from cli.people import opened
from domain.identity.foreign_subject import LinkNotFound, LinkSubject, SubjectAlreadyLinked, UnlinkSubject
from domain.identity.team import MemberNotFound, TeamNotFound
from domain.kernel.identifiers import IDENTITY_LINK
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.identity.keyring import subject_digest
from infra.identity.profiles import profile_of
from infra.ids import new_id
from infra.mail.port import LetterNotSent
from infra.mail.post import mailer_from
from infra.settings import Settings, vault_master_key
from infra.vault import Vault

app = typer.Typer()


class NotLinked(Exception):
    """The command was refused; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Link(NamedTuple):
    """A link that was made; `is_believed`: tokens of its issuer are verified with these settings."""

    link_id: str
    user_id: str
    is_believed: bool


async def link_subject(dsn: str, settings: Settings, *, tenant_id: str, email: str, issuer: str, subject: str) -> Link:
    """Let the issuer's subject be this member of the tenant. Raises NotLinked."""
    async with opened(dsn, settings) as (writer, identity):
        found = await identity.users.by_address(email)
        if found is None:
            raise NotLinked(MemberNotFound.code)
        command = LinkSubject(
            tenant_id=tenant_id,
            link_id=new_id(IDENTITY_LINK),
            user_id=found.user_id,
            issuer=issuer,
            subject_digest=subject_digest(identity.keyring, issuer, subject),
            by=None,
        )
        refused = await issue(writer, tenant_id, command)
        if refused is not None:
            raise NotLinked(refused)
        return Link(command.link_id, found.user_id, identity.tokens.believes(issuer))


async def tell_member(
    dsn: str, settings: Settings, letter: letters.OfLink, *, tenant_id: str, user_id: str, issuer: str
) -> None:
    """Send the member a letter of their new link, or of one that is gone. Raises LetterNotSent."""
    async with connected(dsn, settings) as connection:
        address = (await profile_of(Vault(vault_master_key(settings)), connection, user_id)).text("email")
        name = await connection.fetchval("SELECT name FROM access.tenants WHERE tenant_id = $1", tenant_id)
    if address:
        await mailer_from(settings).send(letter(settings, address, issuer=issuer, tenant_name=name))


class Unlinked(NamedTuple):
    """Whom tokens of which issuer stood for."""

    user_id: str
    issuer: str


async def unlink_subject(dsn: str, settings: Settings, *, tenant_id: str, link_id: str) -> Unlinked:
    """Let it be nobody. Raises NotLinked."""
    async with opened(dsn, settings) as (writer, identity):
        row = await identity.pool.fetchrow(
            "SELECT user_id, issuer FROM access.identity_links WHERE tenant_id = $1 AND link_id = $2",
            tenant_id,
            link_id,
        )
        refused = await issue(writer, tenant_id, UnlinkSubject(tenant_id=tenant_id, link_id=link_id, by=None))
        if refused is not None or row is None:
            raise NotLinked(refused or LinkNotFound.code)
        return Unlinked(*row)


async def list_links(dsn: str, settings: Settings, *, tenant_id: str) -> list[dict[str, Any]]:
    """The tenant's links, those made last first."""
    async with opened(dsn, settings) as (_, identity):
        rows = await identity.pool.fetch(
            "SELECT link_id, user_id, issuer FROM access.identity_links WHERE tenant_id = $1 ORDER BY link_id DESC",
            tenant_id,
        )
        return [{**dict(row), "is_believed": identity.tokens.believes(row["issuer"])} for row in rows]


Tenant = Annotated[str, typer.Option(help="The tenant in which the link is good.")]


@app.command("link")
def link(
    *,
    tenant: Tenant,
    email: Annotated[str, typer.Option(help="The address of the member.")],
    issuer: Annotated[str, typer.Option(help="The issuer, as its tokens name it in `iss`.")],
    subject: Annotated[str, typer.Option(help="Whom its tokens name in `sub`.")],
    as_json: AsJson = False,
) -> None:
    """Let a foreign issuer's access tokens of one subject be a member's, in one tenant.

    What they may do stays the member's role, and the member gets a letter. TALLYBOOK_AUTH_FOREIGN_ISSUERS says whose
    tokens are verified at all.

    [dim]Example:[/dim] [cyan]tallybook users link --tenant acme --email ada@example.com
    --issuer https://login.example.com --subject 00u1a2b3c4[/cyan]
    """
    settings = reached_settings(kafka=False)
    wanted = {"tenant_id": tenant, "email": email, "issuer": issuer, "subject": subject}
    try:
        made = asyncio.run(link_subject(owner_dsn(settings), settings, **wanted))
    except NotLinked as refused:
        raise AnswerIsNo(_why(refused.code, tenant)) from None
    _tell(settings, letters.identity_linked, tenant, made.user_id, issuer, as_json=as_json)
    if as_json:
        told = {"identity_link": made.link_id, "user": made.user_id, "tenant": tenant, "is_believed": made.is_believed}
        print_json(told)
        return
    console = console_for(as_json=False)
    console.print(f"{made.link_id}: {issuer} vouches for {made.user_id} in {tenant}.", soft_wrap=True)
    if not made.is_believed:
        console.print("Its tokens are not verified yet: name it in TALLYBOOK_AUTH_FOREIGN_ISSUERS.", soft_wrap=True)


@app.command("unlink")
def unlink(
    identity_link: Annotated[str, typer.Argument(help="The link's id, `idl_…`.")],
    *,
    tenant: Tenant,
    as_json: AsJson = False,
) -> None:
    """Let a foreign issuer's subject be nobody in the tenant, at once. The member gets a letter.

    [dim]Example:[/dim] [cyan]tallybook users unlink idl_01m7ywe9z7e398x54gfbrtqnk7 --tenant acme[/cyan]
    """
    settings = reached_settings(kafka=False)
    try:
        gone = asyncio.run(unlink_subject(owner_dsn(settings), settings, tenant_id=tenant, link_id=identity_link))
    except NotLinked as refused:
        raise AnswerIsNo(_why(refused.code, tenant)) from None
    _tell(settings, letters.identity_unlinked, tenant, gone.user_id, gone.issuer, as_json=as_json)
    if as_json:
        print_json({"identity_link": identity_link, "removed": True})
    else:
        console_for(as_json=False).print(f"{identity_link} is removed.")


@app.command("links")
def links(*, tenant: Tenant, as_json: AsJson = False) -> None:
    """Show whom foreign issuers vouch for in a tenant. Subjects are kept as digests, and not shown.

    [dim]Example:[/dim] [cyan]tallybook users links --tenant acme --json[/cyan]
    """
    settings = reached_settings(kafka=False)
    rows = asyncio.run(list_links(owner_dsn(settings), settings, tenant_id=tenant))
    if as_json:
        print_json(rows)
        return
    columns = {"link_id": "link", "user_id": "user", "issuer": "issuer", "is_believed": "believed"}
    print_rows(console_for(as_json=False), columns, rows)


def _tell(settings: Settings, letter: letters.OfLink, tenant: str, user_id: str, issuer: str, *, as_json: bool) -> None:
    """Send the letter; where that cannot be, say so: the command is done."""
    wanted = {"tenant_id": tenant, "user_id": user_id, "issuer": issuer}
    try:
        asyncio.run(tell_member(owner_dsn(settings), settings, letter, **wanted))
    except LetterNotSent as error:
        console_for(as_json=as_json).print(f"No letter tells {user_id} of it: {error}.", soft_wrap=True)


def _why(code: str, tenant: str) -> str:
    match code:
        case SubjectAlreadyLinked.code:
            return f"That subject is linked in {tenant} already; `tallybook users links --tenant {tenant}` shows how."
        case LinkNotFound.code:
            return f"There is no such link in {tenant}; `tallybook users links --tenant {tenant}` shows them."
        case MemberNotFound.code | TeamNotFound.code:
            return f"Nobody of that address is a member of {tenant}; nothing was linked."
        case _:
            return f"Nothing was changed: {code}."
