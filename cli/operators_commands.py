"""Commands that the operator issues at a shell. Each is a new request: whoever runs one twice asks for it twice."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

import asyncpg

from domain.kernel.stream import Command
from infra.database import Connection, Role, server_settings
from infra.event_store.port import Credential, Request, SealedPerson, Writer
from infra.ids import new_id
from infra.settings import Settings

ACTOR: Final = "operator"


async def issue(
    writer: Writer,
    tenant_id: str,
    command: Command,
    *credentials: Credential,
    seals: SealedPerson | None = None,
    erases: str | None = None,
    correlation_id: str | None = None,
) -> str | None:
    """Take a command to the log: the code of its refusal, None where it was accepted."""
    outcome = await writer.submit(
        Request(
            tenant_id=tenant_id,
            idempotency_key=f"operator:{new_id('cli_')}",
            request_hash=hashlib.sha256(repr(command).encode()).digest(),
            command=command,
            actor=ACTOR,
            correlation_id=correlation_id or new_id("cli_"),
            seals=seals,
            erases=erases,
            credentials=credentials,
        )
    )
    return outcome.refusal_code


class Issue(Protocol):
    """Takes a command to the log: the code of its refusal, None where it was accepted."""

    async def __call__(self, command: Command, *credentials: Credential) -> str | None: ...


@contextlib.asynccontextmanager
async def issuing(dsn: str, settings: Settings, tenant_id: str) -> AsyncIterator[Issue]:
    """A writer for some commands in a tenant, which are told of as one."""
    # The whole domain comes with it, which whoever only looks need not wait for.
    from infra.event_store.opening import open_writer

    writer = open_writer(dsn, settings.writer)
    correlation_id = new_id("cli_")

    async def issued(command: Command, *credentials: Credential) -> str | None:
        return await issue(writer, tenant_id, command, *credentials, correlation_id=correlation_id)

    try:
        yield issued
    finally:
        await writer.close()


@contextlib.asynccontextmanager
async def connected(dsn: str, settings: Settings) -> AsyncIterator[Connection]:
    """A connection as the owner, who sees every tenant."""
    connection = await asyncpg.connect(
        dsn,
        timeout=settings.database.connect_timeout_s,
        server_settings=server_settings(Role.OWNER, settings.database),
    )
    try:
        yield connection
    finally:
        await connection.close()
