"""What is known of a tenant's members beyond their roles: whether they may sign in, their names and addresses."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from domain.identity.tenant import PLATFORM
from infra.commitments import Person
from infra.database import Pool
from infra.vault import Reads, Vault

_NEWEST: Final = """
SELECT DISTINCT ON (person_id) person_id, reference FROM vault.personal_data
WHERE tenant_id = $1 AND person_id = ANY($2::text[]) AND starts_with(reference, 'pd_')
ORDER BY person_id, written DESC
"""


class Known(NamedTuple):
    """A user's name and address; None where nothing is known of them, or no longer."""

    name: str | None
    email: str | None


NOTHING: Final = Known(None, None)


async def known_of(vault: Vault, reads: Reads, user_ids: Sequence[str]) -> Mapping[str, Known]:
    """Names and addresses by user. The reader's connection is of the tenant `platform`, so the ids must be those of
    members that whoever asks may see.
    """
    newest = [(row[0], row[1]) for row in await reads.fetch(_NEWEST, PLATFORM, list(user_ids))]
    found = await vault.open_many(reads, PLATFORM, newest)
    return {user_id: Known(_text(person, "name"), _text(person, "email")) for (user_id, _), person in found.items()}


async def statuses(pool: Pool, user_ids: Sequence[str]) -> Mapping[str, str]:
    """Whether users may sign in. The pool's role is `tallybook_access`."""
    rows = await pool.fetch("SELECT user_id, status FROM access.users WHERE user_id = ANY($1::text[])", list(user_ids))
    return {row[0]: row[1] for row in rows}


def _text(person: Person, name: str) -> str | None:
    value = person.get(name)
    return value if isinstance(value, str) else None
