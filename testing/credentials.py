"""Parts of identity as the API puts them together, over one database, with limits as the settings have them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from infra.database import Pool, Role, open_pool
from infra.identity.access_tokens import AccessTokens
from infra.identity.keyring import Keyring
from infra.identity.limits import key_limits, lockout_limits, session_limits
from infra.identity.log_in_attempts import LogInAttempts
from infra.identity.one_time_tokens import OneTimeTokens
from infra.identity.password_hashing import PasswordHashing
from infra.identity.passwords import Passwords
from infra.identity.sessions import Sessions
from infra.identity.signing_keys import SigningKeys
from infra.settings import AuthSettings, DatabaseSettings

MASTER_KEY: Final = bytes(range(32))
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)
USER: Final = "usr_01kjm00000000000000000ada0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One process's worth of them."""

    pool: Pool
    hashing: PasswordHashing
    passwords: Passwords
    one_time: OneTimeTokens
    sessions: Sessions
    signing: SigningKeys
    tokens: AccessTokens
    attempts: LogInAttempts


@asynccontextmanager
async def open_credentials(
    dsn: str, settings: AuthSettings | None = None, *, master_key: bytes = MASTER_KEY
) -> AsyncIterator[Credentials]:
    """Open them in their role."""
    settings = settings or AuthSettings()
    keyring = Keyring(master_key)
    hashing = PasswordHashing(settings)
    pool = await open_pool(dsn, Role.ACCESS, DatabaseSettings(pool_max_connections=20))
    try:
        yield Credentials(
            pool=pool,
            hashing=hashing,
            passwords=Passwords(pool, hashing),
            one_time=OneTimeTokens(pool),
            sessions=Sessions(pool, keyring, session_limits(settings)),
            signing=SigningKeys(pool, keyring, key_limits(settings)),
            tokens=AccessTokens(settings),
            attempts=LogInAttempts(pool, keyring, lockout_limits(settings)),
        )
    finally:
        await pool.close()
        hashing.close()
