"""A user's second factors together: which there are, and whether what is shown proves one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.identity.second_factors import FactorKind
from infra.database import Pool
from infra.identity.authenticator_apps import AuthenticatorApps
from infra.identity.factor_proofs import FactorProof, proofs_of
from infra.identity.passkeys import Passkeys
from infra.identity.recovery_codes import RecoveryCodes

_OF_USER: Final = """
SELECT f.factor_id, f.kind, s.name, s.made_at, s.used_at
FROM access.second_factors f JOIN access.factor_secrets s USING (user_id, factor_id)
WHERE f.user_id = $1 ORDER BY f.factor_id
"""
_FORGET: Final = """
DELETE FROM access.factor_secrets s WHERE made_at < $1
    AND NOT EXISTS (SELECT FROM access.second_factors f WHERE f.factor_id = s.factor_id)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFactor:
    """A second factor as its user knows it."""

    factor_id: str
    kind: FactorKind
    name: str
    made_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactors:
    """The pool's role is `tallybook_access`."""

    pool: Pool
    apps: AuthenticatorApps
    passkeys: Passkeys
    recovery: RecoveryCodes

    async def of_user(self, user_id: str) -> Sequence[OwnFactor]:
        """The user's, in the order in which they came."""
        return [
            OwnFactor(
                factor_id=row["factor_id"],
                kind=FactorKind(row["kind"]),
                name=row["name"],
                made_at=row["made_at"],
                used_at=row["used_at"],
            )
            for row in await self.pool.fetch(_OF_USER, user_id)
        ]

    async def proofs_of(self, user_id: str) -> Sequence[FactorProof]:
        """What proves them. Of whoever has none the password alone is enough."""
        return await proofs_of(self.pool, user_id)

    async def check(
        self, user_id: str, proofs: Sequence[FactorProof], *, code: str | None, passkey: str | None, now: datetime
    ) -> bool:
        """Whether a code of an app, a recovery code, or a passkey's answer is the user's. Count attempts before."""
        if passkey is not None:
            return await self.passkeys.check(user_id, proofs, passkey, now)
        if code is None:
            return False
        return await self.apps.check(user_id, proofs, code, now) or await self.recovery.take(user_id, code, now)

    async def forget_old(self, before: datetime) -> None:
        """Drop offers that nobody took up."""
        await self.pool.execute(_FORGET, before)
