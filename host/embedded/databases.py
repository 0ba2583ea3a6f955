"""What an administrator does to a PostgreSQL server: let roles in, make databases, copy them, drop them."""

from abc import ABC, abstractmethod

import asyncpg

ADMIN = "postgres"


class PostgresServer(ABC):
    """A PostgreSQL server whose administrator we are; the embedded one, or a container's in tests."""

    @property
    @abstractmethod
    def password(self) -> str:
        """The one password of this server; only letters and digits."""

    @abstractmethod
    def dsn(self, role: str = ADMIN, database: str = ADMIN) -> str:
        """Return the URL for a role and a database. Roles other than the administrator need `grant_login` once."""

    async def grant_login(self, *roles: str) -> None:
        """Let roles that exist log in with this server's password, so that `dsn(role)` works."""
        await self._execute(*(f"ALTER ROLE {_quoted(role)} LOGIN PASSWORD '{self.password}'" for role in roles))

    async def ensure_database(self, name: str) -> None:
        """Create a database unless it is there."""
        connection = await asyncpg.connect(self.dsn())
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {_quoted(name)}")
        finally:
            await connection.close()

    async def copy_database(self, name: str, *, template: str) -> None:
        """Create a database as a copy of another; nobody may be connected to that one.

        Its files are copied: of a small template that takes half the work of writing each of its pages into the log.
        """
        await self._execute(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)} STRATEGY FILE_COPY")

    async def drop_database(self, name: str) -> None:
        """Drop a database if it is there, ending its sessions."""
        await self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.dsn())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
