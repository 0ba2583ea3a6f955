"""What the operator's commands about people need: who they are, and a user whose address the operator vouches for."""

import contextlib
from collections.abc import AsyncIterator

from api.http.callers import own_origin
from cli.operators_commands import issue
from domain.identity.tenant import PLATFORM
from domain.identity.user import RegisterUser
from infra.database import Role, open_pool
from infra.event_store.opening import open_writer
from infra.event_store.port import Credential, CredentialKind, Writer
from infra.identity.keyring import Keyring, email_index
from infra.identity.opening import Identity, open_identity
from infra.identity.profiles import seal_profile
from infra.settings import Settings
from infra.vault import Vault


@contextlib.asynccontextmanager
async def opened(dsn: str, settings: Settings) -> AsyncIterator[tuple[Writer, Identity]]:
    """What commands about people need: a writer, and who they are."""
    async with contextlib.AsyncExitStack() as stack:
        writer = open_writer(dsn, settings.writer)
        stack.push_async_callback(writer.close)
        pool = await open_pool(dsn, Role.ACCESS, settings.database)
        stack.push_async_callback(pool.close)
        yield writer, await stack.enter_async_context(open_identity(settings, pool, origin=own_origin(settings)))


async def register_user(
    writer: Writer,
    vault: Vault,
    keyring: Keyring,
    user_id: str,
    *,
    email: str,
    name: str,
    password_hash: bytes | None,
) -> None:
    """Make a user whose address the operator vouches for. Raises CredentialMismatch where it is somebody's already."""
    credentials = [Credential(CredentialKind.EMAIL, user_id, email_index(keyring, email))]
    if password_hash is not None:
        credentials.append(Credential(CredentialKind.PASSWORD, user_id, password_hash))
    sealed = seal_profile(vault, user_id, {"email": email, "name": name or None}, None)
    command = RegisterUser(user_id=user_id, personal=sealed.reference, is_verified=True)
    refused = await issue(writer, PLATFORM, command, *credentials, seals=sealed.rows)
    assert refused is None, refused
