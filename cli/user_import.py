"""Users of another system become users here, and members of one tenant: line by line, as often as it is tried.

Whoever is there already, by their address, stays as they are. So an import that was cut off is run again, and does what
is left.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cli.operators_commands import issue
from cli.people import opened, register_user
from cli.user_file import FileUser
from domain.identity.permissions import Role
from domain.identity.team import AddMember, AlreadyMember
from domain.kernel.identifiers import USER
from infra.event_store.port import Writer
from infra.event_store.storage import CredentialMismatch
from infra.identity.opening import Identity
from infra.identity.signed_in import FoundUser
from infra.ids import new_id
from infra.settings import Settings, vault_master_key
from infra.vault import Vault

IN_FLIGHT_MAX: Final = 32
"""Lines that are imported at once: enough to fill a batch of the writer."""


class Came(StrEnum):
    """What a line came to; a dry run says what it would come to."""

    NEW = "new"
    """The user was made, and is a member."""
    JOINED = "joined"
    """The user was there, keeps name and password, and is now a member."""
    ALREADY = "already"
    """They were a member in this role; nothing was changed."""
    OTHER_ROLE = "other_role"
    """They are a member in another role, which they keep."""
    REFUSED = "refused"
    """The team does not take them; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a line came to. `user_id` is None for one whom a dry run would make."""

    line: int
    came: Came
    user_id: str | None
    reason: str | None = None


class CannotImport(Exception):
    """Nothing was imported; the message says why."""


async def import_users(
    dsn: str,
    settings: Settings,
    users: Sequence[FileUser],
    *,
    tenant_id: str,
    default_role: Role,
    is_dry: bool,
    tell: Callable[[int], None],
) -> Sequence[Imported]:
    """Import them; `tell` is told how many lines are done. Raises CannotImport."""
    async with opened(dsn, settings) as (writer, identity):
        if not await identity.pool.fetchval("SELECT true FROM access.tenants WHERE tenant_id = $1", tenant_id):
            raise CannotImport(f"There is no tenant {tenant_id}; `tallybook tenants create {tenant_id}` makes it.")
        query = "SELECT user_id, role FROM access.memberships WHERE tenant_id = $1"
        members = {row[0]: Role(row[1]) for row in await identity.pool.fetch(query, tenant_id)}
        runs = _Import(
            writer=writer,
            identity=identity,
            vault=Vault(vault_master_key(settings)),
            tenant_id=tenant_id,
            default_role=default_role,
            members=members,
            is_dry=is_dry,
        )
        # A team begins with an ADMIN, wherever in the file they stand.
        admins = [user for user in users if runs.role_of(user) is Role.ADMIN]
        if not members and users and not admins:
            raise CannotImport(
                f"{tenant_id} has no members yet, and a team begins with an admin: let the file have one."
            )
        others = [user for user in users if runs.role_of(user) is not Role.ADMIN]
        done: list[Imported] = []
        for part in (*_parts(admins), *_parts(others)):
            done += await asyncio.gather(*(runs.take(user) for user in part))
            tell(len(done))
    return sorted(done, key=lambda each: each.line)


def _parts(users: Sequence[FileUser]) -> Iterator[Sequence[FileUser]]:
    return (users[start : start + IN_FLIGHT_MAX] for start in range(0, len(users), IN_FLIGHT_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    writer: Writer
    identity: Identity
    vault: Vault
    tenant_id: str
    default_role: Role
    members: Mapping[str, Role]
    """As they were when the import began; who joined meanwhile is found out by the team."""
    is_dry: bool

    def role_of(self, user: FileUser) -> Role:
        return user.role or self.default_role

    async def take(self, user: FileUser) -> Imported:
        found = await self.identity.users.by_address(user.email)
        if found is not None:
            return await self._known(user, found)
        if self.is_dry:
            return Imported(line=user.line, came=Came.NEW, user_id=None)
        user_id = new_id(USER)
        try:
            await register_user(
                self.writer,
                self.vault,
                self.identity.keyring,
                user_id,
                email=user.email,
                name=user.name,
                password_hash=user.password_hash,
            )
        except CredentialMismatch:
            # Somebody registered this address in between: another import, or they themselves.
            found = await self.identity.users.by_address(user.email)
            if found is None:
                raise
            return await self._known(user, found)
        return await self._joined(user, user_id, Came.NEW)

    async def _known(self, user: FileUser, found: FoundUser) -> Imported:
        role = self.members.get(found.user_id)
        if role is not None:
            came = Came.ALREADY if role is self.role_of(user) else Came.OTHER_ROLE
            return Imported(line=user.line, came=came, user_id=found.user_id)
        return await self._joined(user, found.user_id, Came.JOINED)

    async def _joined(self, user: FileUser, user_id: str, came: Came) -> Imported:
        if self.is_dry:
            return Imported(line=user.line, came=came, user_id=user_id)
        command = AddMember(tenant_id=self.tenant_id, user_id=user_id, role=self.role_of(user), by=None)
        refused = await issue(self.writer, self.tenant_id, command)
        if refused == AlreadyMember.code:
            came = Came.ALREADY  # since the import began
        elif refused is not None:
            return Imported(line=user.line, came=Came.REFUSED, user_id=user_id, reason=refused)
        return Imported(line=user.line, came=came, user_id=user_id)
