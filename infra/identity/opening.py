"""The parts of identity, put together over one pool in the role `tallybook_access`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from infra.clock import Clock, system_clock
from infra.database import Pool
from infra.identity.access_tokens import AccessTokens
from infra.identity.authenticator_apps import AuthenticatorApps
from infra.identity.keyring import Keyring
from infra.identity.limits import key_limits, lockout_limits, session_limits
from infra.identity.log_in_attempts import LogInAttempts
from infra.identity.one_time_tokens import OneTimeTokens
from infra.identity.passkeys import Passkeys, PasskeySite
from infra.identity.password_hashing import PasswordHashing
from infra.identity.passwords import Passwords
from infra.identity.portal_sessions import PortalSessions
from infra.identity.recovery_codes import RecoveryCodes
from infra.identity.second_factors import SecondFactors
from infra.identity.sessions import Sessions
from infra.identity.signed_in import Users
from infra.identity.signing_keys import KeysInHand, SigningKeys
from infra.settings import Settings, vault_master_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What one process needs to know who somebody is, and to let them in."""

    pool: Pool
    keyring: Keyring
    users: Users
    hashing: PasswordHashing
    passwords: Passwords
    one_time: OneTimeTokens
    sessions: Sessions
    portal: PortalSessions
    second_factors: SecondFactors
    signing: SigningKeys
    keys_in_hand: KeysInHand
    tokens: AccessTokens
    attempts: LogInAttempts
    clock: Clock


@asynccontextmanager
async def open_identity(
    settings: Settings, pool: Pool, *, origin: str, clock: Clock = system_clock
) -> AsyncIterator[Identity]:
    """Open them over a pool in the role `tallybook_access`; `origin` is that of our own pages."""
    auth = settings.auth
    keyring = Keyring(vault_master_key(settings))
    tokens = AccessTokens(auth)
    hashing = PasswordHashing(auth)
    one_time = OneTimeTokens(pool)
    signing = SigningKeys(pool, keyring, key_limits(auth))
    try:
        yield Identity(
            pool=pool,
            keyring=keyring,
            users=Users(pool, keyring),
            hashing=hashing,
            passwords=Passwords(pool, hashing),
            one_time=one_time,
            sessions=Sessions(pool, keyring, session_limits(auth)),
            portal=PortalSessions(pool, lasts=timedelta(seconds=auth.portal_session_s)),
            second_factors=SecondFactors(
                pool=pool,
                apps=AuthenticatorApps(pool, keyring),
                passkeys=Passkeys(pool, one_time, PasskeySite(origin=origin)),
                recovery=RecoveryCodes(pool, keyring),
            ),
            signing=signing,
            keys_in_hand=KeysInHand(signing, cache=timedelta(seconds=auth.signing_keys_cache_s)),
            tokens=tokens,
            attempts=LogInAttempts(pool, keyring, lockout_limits(auth)),
            clock=clock,
        )
    finally:
        hashing.close()
