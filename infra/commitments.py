"""What an event says about a person's data: 32 bytes that commit to each field on its own.

Each field of each revision has a salt of its own. In bytes, with `json` the canonical JSON (keys sorted, no blanks,
UTF-8) and `|` one after the other:

    salt of a field  = HMAC-SHA256(the person's salt, json [reference, field])
    hash of a field  = SHA-256(00 | salt of the field | json [field, value])
    commitment       = SHA-256(01 | the fields' hashes in rising order)

Whoever is shown one field, its salt and the other hashes can compute the commitment, and learns nothing of the other
fields: their hashes cannot be tried out without their salts, and their order says nothing of what they are. Once the
person's salt is erased no field can be opened or tried out any more; an opening given away before stays valid.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]
Person = Mapping[str, Json]  # field → value; whatever JSON holds

SALT_BYTES: Final = 32
HASH_BYTES: Final = 32
_FIELD: Final = b"\x00"
_ALL_FIELDS: Final = b"\x01"


class Opening(NamedTuple):
    """One field shown: with the hashes of the others, in rising order, it leads to the event's commitment."""

    field: str
    value: Json
    salt: bytes
    others: tuple[bytes, ...]


def commitment(salt: bytes, reference: str, person: Person) -> bytes:
    """32 bytes for the event: `salt` is the person's, `reference` names the revision."""
    return _together(_hashes(salt, reference, person).values())


def opening(salt: bytes, reference: str, person: Person, field: str) -> Opening:
    """Show one field of a revision. Raises KeyError if the revision does not have it."""
    hashes = _hashes(salt, reference, person)
    del hashes[field]
    return Opening(field, person[field], _salt_of(salt, reference, field), tuple(sorted(hashes.values())))


def opens(committed: bytes, shown: Opening) -> bool:
    """Whether the event's commitment holds this field with this value. Needs neither vault nor database."""
    sizes = {len(each) for each in shown.others} | {HASH_BYTES}
    if sizes != {HASH_BYTES} or len(shown.salt) != SALT_BYTES:
        return False
    return hmac.compare_digest(committed, _together([_hash(shown.salt, shown.field, shown.value), *shown.others]))


def canonical(value: Json | Person) -> bytes:
    """The one form of a value in bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _hashes(salt: bytes, reference: str, person: Person) -> dict[str, bytes]:
    return {field: _hash(_salt_of(salt, reference, field), field, value) for field, value in person.items()}


def _salt_of(salt: bytes, reference: str, field: str) -> bytes:
    return hmac.digest(salt, canonical([reference, field]), "sha256")


def _hash(field_salt: bytes, field: str, value: Json) -> bytes:
    return hashlib.sha256(_FIELD + field_salt + canonical([field, value])).digest()


def _together(hashes: Iterable[bytes]) -> bytes:
    return hashlib.sha256(_ALL_FIELDS + b"".join(sorted(hashes))).digest()
