"""What proves a user's second factors, as one read finds it. That it was shown is written later, by compare-and-set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.database import Pool

# A factor without its proof, which there should not be, is still one: it cannot be shown, and is asked for.
_PROOFS: Final = """
SELECT f.factor_id, s.sealed, s.credential_id, s.public_key, coalesce(s.use_count, 0) AS use_count
FROM access.second_factors f LEFT JOIN access.factor_secrets s USING (user_id, factor_id)
WHERE user_id = $1 ORDER BY f.factor_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorProof:
    """An app has a sealed secret, a passkey a public key; what `use_count` counts, its column's comment says."""

    factor_id: str
    sealed: bytes | None
    credential_id: bytes | None
    public_key: bytes | None
    use_count: int


async def proofs_of(pool: Pool, user_id: str) -> Sequence[FactorProof]:
    """Of each of the user's second factors, in the order in which they came. None: the password is enough."""
    return [FactorProof(**dict(row)) for row in await pool.fetch(_PROOFS, user_id)]
