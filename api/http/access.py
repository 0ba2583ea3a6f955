"""API keys: `tbk_live_<prefix>_<256 bits in base32>`, or `tbk_test_…` for a test tenant's.

Only their SHA-256 is stored; whoever has a key is its tenant, as far as its scope goes.
"""

import asyncio
import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

from api.http.principal import Principal, PrincipalKind, principal_of
from api.http.remembered import Remembered
from domain.identity.permissions import Scope
from domain.kernel.tenant_mode import TenantMode
from infra.database import CONNECTION_ERRORS, Pool
from infra.event_store.log import Listener, wait_for_growth

CHANNEL: Final = "tallybook_access"
"""Where `access.record` tells, with the commit, that who may do what has changed."""
LOOK_S: Final = 1.0
"""Between looks whether the connection that listens is still there (s)."""
PREFIX_CHARS: Final = 8
_FIND: Final = """
SELECT key_id, tenant_id, prefix, mode, scope, suspended, expires_at, allowed_networks,
       reads_per_hour, writes_per_hour, admin_per_hour,
       extract(epoch FROM expires_at - clock_timestamp())::float AS lasts_s
FROM access.find_api_key($1)
"""
_HOURLY: Final = {Scope.READ: "reads_per_hour", Scope.WRITE: "writes_per_hour", Scope.ADMIN: "admin_per_hour"}
_KEY: Final = re.compile(r"tbk_(?:live|test)_([a-z2-7]{8})_[a-z2-7]{52}")


class ApiKeys:
    """Checks keys against the database; a checked key is believed for `cache_s`, or until `forget` or its own end."""

    def __init__(self, pool: Pool, *, cache_s: float, max_keys: int) -> None:
        self._pool = pool
        self._found: Remembered[Principal] = Remembered(lasts_s=cache_s, entries_max=max_keys)

    def forget(self) -> None:
        """Believe nothing that was found before: who may do what has changed."""
        self._found.forget()

    def held(self, secret: str) -> Principal | None:
        """The principal of a key that was checked a moment ago, its prefix with it."""
        return self._found.get(hashlib.sha256(secret.encode()).digest())

    async def find(self, secret: str) -> Principal | None:
        """The principal of a key, None if there is no such key or it was revoked."""
        if _KEY.fullmatch(secret) is None:
            return None
        digest = hashlib.sha256(secret.encode()).digest()
        forgotten = self._found.forgotten
        row = await self._pool.fetchrow(_FIND, digest)
        if row is None or not _same_prefix(secret, row["prefix"]):
            self._found.drop(digest)
            return None
        principal = principal_of(
            PrincipalKind.API_KEY,
            Scope(row["scope"]),
            tenant_id=row["tenant_id"],
            principal_id=row["key_id"],
            mode=TenantMode(row["mode"]),
            is_suspended=row["suspended"],
        )._replace(
            expires_at=row["expires_at"],
            allowed_networks=tuple(ip_network(each) for each in row["allowed_networks"]),
            hourly=MappingProxyType({scope: row[column] for scope, column in _HOURLY.items() if row[column]}),
        )
        self._found.put(digest, principal, ends_in_s=row["lasts_s"], forgotten=forgotten)
        return principal


@contextlib.asynccontextmanager
async def forgetting_changed(pool: Pool, *forget: Callable[[], None]) -> AsyncIterator[None]:
    """Have what is remembered forgotten as soon as a change of who may do what is committed, by whatever process.

    Where nothing can be heard, what is found is still believed for no longer than the cache's own time.
    """
    task = asyncio.create_task(_forget_changed(pool, forget))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _forget_changed(pool: Pool, forget: Sequence[Callable[[], None]]) -> None:
    changed = asyncio.Event()
    listener = Listener(pool, changed, channel=CHANNEL)
    try:
        while True:
            try:
                if await listener.listen():
                    changed.set()  # it may have been told while nobody listened
            except CONNECTION_ERRORS:
                await asyncio.sleep(LOOK_S)
                continue
            await wait_for_growth(changed, LOOK_S)
            if changed.is_set():
                changed.clear()
                for each in forget:
                    each()
    finally:
        await listener.close()


def _same_prefix(secret: str, prefix: str) -> bool:
    """The secret's digest was looked up by equality, which tells nothing of it; its prefix is compared in one time."""
    found = _KEY.fullmatch(secret)
    return found is not None and hmac.compare_digest(found[1].encode(), prefix.encode())
