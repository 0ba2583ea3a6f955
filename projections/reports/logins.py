"""Logins that read the reports: each is one tenant's, reads the views of `reporting`, and may do nothing else.

A login is a role of the server, a member of the group `tallybook_reporting`, and a row of `reporting.logins` in the
database, which says whose rows it sees. Without either it reads nothing.
"""

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from infra.database import REPORTERS, Connection, Role
from infra.settings import DatabaseSettings

CONNECTIONS_MAX: Final = 10
STATEMENT_TIMEOUT: Final = "10min"
IDLE_TIMEOUT: Final = "1min"
"""Of a transaction that does nothing. A session may set both otherwise: a swap of tables ends it all the same."""
TEMPORARY_FILES_MAX: Final = "4GB"

LOGIN: Final = re.compile(r"[a-z][a-z0-9_]{2,62}")
_PREFIX: Final = "tallybook_reports_"
_PASSWORD_BYTES: Final = 24
_SALT_BYTES: Final = 16
_ITERATIONS: Final = 4_096


class Login(NamedTuple):
    """Who reads the reports of which tenant, and since when."""

    login: str
    tenant_id: str
    granted_at: datetime


class NoTenant(Exception):
    """There is no tenant of this id; nothing was made."""


class LoginTaken(Exception):
    """The name is another tenant's login, or a role that is none of ours; nothing was made."""


class NoLogin(Exception):
    """There is no reporting login of this name."""


def default_login(tenant_id: str) -> str:
    """The name of a tenant's login where nobody says another."""
    return _PREFIX + tenant_id.replace("-", "_")


async def _connected(dsn: str, settings: DatabaseSettings) -> Connection:
    return await asyncpg.connect(dsn, timeout=settings.connect_timeout_s)


async def grant_login(dsn: str, settings: DatabaseSettings, *, tenant_id: str, login: str) -> str:
    """Let this login read the tenant's reports; the password, which is new each time and kept nowhere.

    The DSN's user is a superuser, or made the database's roles. `login` is of the form of LOGIN. Raises NoTenant,
    LoginTaken.
    """
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    connection = await _connected(dsn, settings)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", login)
            whose = await _whose(connection, tenant_id, login)
            verifier = scram_verifier(password)
            if whose is None:
                await _make_role(connection, login, verifier)
            else:
                await connection.execute(f"ALTER ROLE \"{login}\" PASSWORD '{verifier}'")
            await connection.execute(f"SET LOCAL ROLE {Role.OWNER}")
            await connection.execute(
                "INSERT INTO reporting.logins (login, tenant_id) VALUES ($1, $2) ON CONFLICT (login) DO NOTHING",
                login,
                tenant_id,
            )
    finally:
        await connection.close()
    return password


async def _whose(connection: Connection, tenant_id: str, login: str) -> str | None:
    """The tenant that has the login already, which is this one; None where it is to be made."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL ROLE {Role.OWNER}")
        if await connection.fetchval("SELECT 1 FROM access.tenants WHERE tenant_id = $1", tenant_id) is None:
            raise NoTenant(tenant_id)
        whose: str | None = await connection.fetchval("SELECT tenant_id FROM reporting.logins WHERE login = $1", login)
        await connection.execute("RESET ROLE")
    is_there = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login)
    if whose not in (None, tenant_id) or is_there is not (whose is not None):
        raise LoginTaken(login)
    return whose


async def _make_role(connection: Connection, login: str, verifier: str) -> None:
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(
        f'CREATE ROLE "{login}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT '
        f"CONNECTION LIMIT {CONNECTIONS_MAX} PASSWORD '{verifier}'"
    )
    await connection.execute(f'GRANT {REPORTERS} TO "{login}" WITH INHERIT TRUE, SET FALSE')
    # So that the owner may end its sessions, which a swap of tables would wait for.
    await connection.execute(f'GRANT "{login}" TO {Role.OWNER} WITH INHERIT TRUE, SET FALSE')
    limits = {
        "default_transaction_read_only": "on",
        "statement_timeout": STATEMENT_TIMEOUT,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
        "search_path": "reporting",
    }
    if await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        limits["temp_file_limit"] = TEMPORARY_FILES_MAX
    for name, value in limits.items():
        await connection.execute(f"ALTER ROLE \"{login}\" IN DATABASE {database} SET {name} = '{value}'")


async def revoke_login(dsn: str, settings: DatabaseSettings, *, login: str) -> str:
    """End the login and its sessions; the tenant whose it was. Raises NoLogin."""
    connection = await _connected(dsn, settings)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {Role.OWNER}")
            tenant_id: str | None = await connection.fetchval(
                "DELETE FROM reporting.logins WHERE login = $1 RETURNING tenant_id", login
            )
            if tenant_id is None:
                raise NoLogin(login)
            await connection.execute("RESET ROLE")
            role = await connection.fetchval("SELECT oid FROM pg_roles WHERE rolname = $1", login)
            if role is not None:
                # It sees no row any more once this is over; its sessions need not wait for that.
                await connection.execute(_END, role)
                await connection.execute(f'DROP ROLE "{login}"')
    finally:
        await connection.close()
    return tenant_id


_END: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1"


async def list_logins(dsn: str, settings: DatabaseSettings) -> list[Login]:
    """Every reporting login of the database, by tenant."""
    connection = await _connected(dsn, settings)
    try:
        await connection.execute(f"SET ROLE {Role.OWNER}")
        rows = await connection.fetch(
            "SELECT login, tenant_id, granted_at FROM reporting.logins ORDER BY tenant_id, login"
        )
    finally:
        await connection.close()
    return [Login(*row) for row in rows]


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps of a password (RFC 5802, RFC 7677), so that the password itself is never sent to it and
    stands in no log of its statements. `password` is plain ASCII.
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    told = [base64.b64encode(each).decode("ascii") for each in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{told[0]}${told[1]}:{told[2]}"
