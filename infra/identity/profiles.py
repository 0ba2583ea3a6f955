"""A user's name and addresses: in the vault, under a key of the user's own, in the tenant `platform`.

The log gets a reference and a commitment; the address is found by a keyed digest of it, which goes beside the command.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.identity.tenant import PLATFORM
from domain.kernel.personal_reference import PersonalReference
from infra.commitments import Person
from infra.event_store.port import SealedPerson
from infra.vault import PersonKey, Reads, Vault

FIELDS: Final = ("name", "email", "phone", "locale")
_NEWEST: Final = """
SELECT reference FROM vault.personal_data
WHERE tenant_id = $1 AND person_id = $2 AND starts_with(reference, 'pd_') ORDER BY written DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the vault holds of a user now; `key` and `reference` are None for whoever is not, or no longer, there."""

    key: PersonKey | None
    reference: str | None
    person: Person

    def text(self, name: str) -> str:
        """A field; empty where nothing is known."""
        value = self.person.get(name)
        return value if isinstance(value, str) else ""


class SealedProfile(NamedTuple):
    """A new revision, ready to go: rows for the vault, and what the event says."""

    rows: SealedPerson
    reference: PersonalReference


async def profile_of(vault: Vault, reads: Reads, user_id: str) -> Profile:
    """What is known of a user. The reader's connection is of the tenant `platform`."""
    key = await vault.key_of(reads, PLATFORM, user_id)
    rows = [] if key is None else await reads.fetch(_NEWEST, PLATFORM, user_id)
    reference = rows[0][0] if rows else None
    person = None if reference is None else await vault.open(reads, PLATFORM, user_id, reference)
    return Profile(key=key, reference=reference, person=person or {})


def seal_profile(vault: Vault, user_id: str, person: Person, key: PersonKey | None) -> SealedProfile:
    """Seal a revision: every field, so that the commitment says nothing of which are given."""
    sealed = vault.seal(PLATFORM, user_id, {**dict.fromkeys(FIELDS), **person}, key)
    reference = PersonalReference(reference=sealed.rows.reference, commitment=sealed.commitment)
    return SealedProfile(sealed.rows, reference)
