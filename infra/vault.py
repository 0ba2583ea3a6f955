"""Personal data, kept out of the log: sealed under a key per person, which erasure destroys.

AES-256-GCM. A person's data key is wrapped by the master key; what is sealed is bound to its tenant, person and
reference, so that no row can pass for another. Events carry a reference and a commitment to each field on its own
(`commitments`): it proves later what was known, field by field, and says nothing once the person's salt is gone.

Keys are never cached: unwrapping one takes microseconds, and a key that is read with every use is gone for every
process the moment its row is.
"""

import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.kernel.identifiers import PERSONAL_DATA
from infra.commitments import SALT_BYTES, Json, Person, canonical, commitment
from infra.event_store.port import Answer, SealedPerson
from infra.ids import new_id

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SEARCH_DIGEST_BYTES: Final = 8

_KEY: Final = "SELECT wrapped_key, salt FROM vault.people WHERE tenant_id = $1 AND person_id = $2"
OPEN: Final = """
SELECT w.person, w.reference, s.wrapped_key, s.sealed
FROM unnest($2::text[], $3::text[]) AS w (person, reference)
CROSS JOIN LATERAL (
    SELECT p.wrapped_key, d.sealed
    FROM vault.personal_data d JOIN vault.people p ON p.tenant_id = d.tenant_id AND p.person_id = d.person_id
    WHERE d.tenant_id = $1 AND d.person_id = w.person AND d.reference = w.reference OFFSET 0
) AS s
"""


class Unsealable(Exception):
    """The sealed bytes do not belong here, were changed, or were sealed under another master key."""


class Reads(Protocol):
    """A connection or a pool, in a role that may read the vault (the reader: with its tenant set)."""

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonKey:
    """A person's data key, and the salt that their fields' salts come from, in the clear: for one request,
    never to be kept.
    """

    tenant_id: str
    person_id: str
    data_key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Data ready to go: `rows` for the request, `rows.reference` and `commitment` (32 bytes) for the event."""

    rows: SealedPerson
    commitment: bytes
    key: PersonKey


class Vault:
    """Seals and opens. `master_key` is 32 bytes; whoever loses it loses every name and address."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise ValueError(f"the master key has {KEY_BYTES} bytes, not {len(master_key)}")
        self._master = AESGCM(master_key)
        self._hash_key = hmac.digest(master_key, b"request hash", "sha256")
        self._search_key = hmac.digest(master_key, b"search terms", "sha256")

    def request_hash(self, text: bytes) -> bytes:
        """32 bytes by which a request is known again. Keyed: whoever has only the database cannot try out names on it,
        not even of people who are erased.
        """
        return hmac.digest(self._hash_key, text, "sha256")

    def search_digests(self, tenant_id: str, terms: Iterable[str]) -> tuple[int, ...]:
        """Digests by which a person is found (64 bits, signed). Keyed, and of the tenant: whoever has only the database
        tries out no names on them, and does not see that two tenants know one person.
        """
        key = self._search_key
        found = (hmac.digest(key, _bound(tenant_id, term), "sha256") for term in terms)
        return tuple(sorted({int.from_bytes(each[:SEARCH_DIGEST_BYTES], signed=True) for each in found}))

    async def key_of(self, reads: Reads, tenant_id: str, person_id: str) -> PersonKey | None:
        """A person's key; None if there is no such person, or no longer."""
        rows = await reads.fetch(_KEY, tenant_id, person_id)
        if not rows:
            return None
        wrapped_key, salt = rows[0]
        data_key = self._unwrap(tenant_id, person_id, wrapped_key)
        return PersonKey(tenant_id=tenant_id, person_id=person_id, data_key=data_key, salt=salt)

    def seal(
        self,
        tenant_id: str,
        person_id: str,
        person: Person,
        key: PersonKey | None = None,
        *,
        prefix: str = PERSONAL_DATA,
        terms: Iterable[str] | None = None,
    ) -> Sealed:
        """Seal one revision of a person's data. Without a key the person is new and gets one.

        `prefix` is that of the reference, and tells what sort of data it is. `terms` is what they are found by from now
        on; None leaves that as it is.
        """
        wrapped_key: bytes | None = None
        salt: bytes | None = None
        if key is None:
            salt = secrets.token_bytes(SALT_BYTES)
            data_key = secrets.token_bytes(KEY_BYTES)
            key = PersonKey(tenant_id=tenant_id, person_id=person_id, data_key=data_key, salt=salt)
            wrapped_key = _encrypt(self._master, data_key, _bound("key", tenant_id, person_id))
        elif (key.tenant_id, key.person_id) != (tenant_id, person_id):
            raise ValueError("the key is another person's")
        reference = new_id(prefix)
        sealed = _encrypt(AESGCM(key.data_key), canonical(person), _bound("data", tenant_id, person_id, reference))
        digests = None if terms is None else self.search_digests(tenant_id, terms)
        rows = SealedPerson(person_id, wrapped_key, salt, reference, sealed, digests)
        return Sealed(rows=rows, commitment=commitment(key.salt, reference, person), key=key)

    def unseal(self, tenant_id: str, person_id: str, reference: str, wrapped_key: bytes, sealed: bytes) -> Person:
        """Open what a query joined: `people.wrapped_key` and `personal_data.sealed`. Raises Unsealable."""
        data_key = self._unwrap(tenant_id, person_id, wrapped_key)
        text = _decrypt(AESGCM(data_key), sealed, _bound("data", tenant_id, person_id, reference))
        person: dict[str, Json] = json.loads(text)
        return person

    async def open(self, reads: Reads, tenant_id: str, person_id: str, reference: str) -> Person | None:
        """One revision of a person's data; None if it is not there, or no longer. Raises Unsealable."""
        return (await self.open_many(reads, tenant_id, [(person_id, reference)])).get((person_id, reference))

    async def open_many(
        self, reads: Reads, tenant_id: str, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Person]:
        """Many revisions by (person, reference), in one query; those erased are left out. Raises Unsealable."""
        people: dict[tuple[str, str], Person] = {}
        for pair, person in (await self.open_each(reads, tenant_id, wanted)).items():
            if isinstance(person, Unsealable):
                raise person
            people[pair] = person
        return people

    async def open_each(
        self, reads: Reads, tenant_id: str, wanted: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Person | Unsealable]:
        """The same; of those that do not open, why."""
        pairs = list(dict.fromkeys(wanted))
        if not pairs:
            return {}
        rows = await reads.fetch(OPEN, tenant_id, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        return {(row[0], row[1]): self._opened(tenant_id, *row) for row in rows}

    def _opened(self, tenant_id: str, *row: Any) -> Person | Unsealable:
        try:
            return self.unseal(tenant_id, *row)
        except Unsealable as why:
            return why

    def seal_answer(self, key: PersonKey, idempotency_key: str, body: bytes) -> Answer:
        """A command's answer that holds personal data, as it may be stored."""
        bound = _bound("answer", key.tenant_id, key.person_id, idempotency_key)
        return Answer(_encrypt(AESGCM(key.data_key), body, bound), key.person_id)

    async def open_answer(self, reads: Reads, tenant_id: str, idempotency_key: str, answer: Answer) -> bytes | None:
        """A stored answer's body; None if the person in it has been erased. Raises Unsealable."""
        if answer.person_id is None:
            return answer.body
        key = await self.key_of(reads, tenant_id, answer.person_id)
        if key is None:
            return None
        bound = _bound("answer", tenant_id, answer.person_id, idempotency_key)
        return _decrypt(AESGCM(key.data_key), answer.body, bound)

    def _unwrap(self, tenant_id: str, person_id: str, wrapped_key: bytes) -> bytes:
        return _decrypt(self._master, wrapped_key, _bound("key", tenant_id, person_id))


def _bound(*parts: str) -> bytes:
    # JSON keeps the parts apart: no tenant can be named so that its id and a person's run into another's.
    return json.dumps(parts).encode()


def _encrypt(cipher: AESGCM, text: bytes, bound: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, text, bound)


def _decrypt(cipher: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise Unsealable("the sealed bytes do not open") from error
