"""How an event speaks of a person: never by name, only by where their data lie, and what commits to them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalReference:
    """Where a person's data lie in the vault (`pd_…`), and a salted hash (32 bytes) that commits to them."""

    reference: str
    commitment: bytes


class PersonalDataMoved(Exception):
    """A new revision was made from one that is not the newest: make it again. No refusal, as it is no answer."""
