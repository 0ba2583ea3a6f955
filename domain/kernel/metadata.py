"""Metadata: what a caller keeps with a resource for their own use. Nothing is ever decided by it.

It is part of the log, which forgets nothing, so nothing personal belongs into it. A customer's own lies in the vault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from domain.kernel.refusal import Refusal, RefusalKind

MAX_METADATA_KEYS: Final = 50

Metadata: TypeAlias = tuple[tuple[str, str], ...]
"""Keys and values in the order of the keys, so that equal ones are equal bytes. No value is empty."""

MetadataChange: TypeAlias = Mapping[str, str | None] | None
"""What is to be set: None or an empty text takes the key away, and None in place of all of them takes all away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataSet:
    """The metadata of a resource as they are from now on. Each stream that has any has an event of its own."""

    metadata: Metadata


class TooManyMetadataKeys(Refusal):
    """A resource has at most 50 keys of metadata, and so has a change: set those to null that are no longer needed."""

    code = "too_many_metadata_keys"
    kind = RefusalKind.INVALID
    param = "metadata"


def with_change(metadata: Metadata, change: MetadataChange) -> Metadata:
    """The metadata after a change; keys that it does not name stay. Raises TooManyMetadataKeys."""
    if change is None:
        return ()
    if len(change) > MAX_METADATA_KEYS:
        raise TooManyMetadataKeys(keys=len(change), most=MAX_METADATA_KEYS)
    kept = tuple(sorted((key, value) for key, value in {**dict(metadata), **change}.items() if value))
    if len(kept) > MAX_METADATA_KEYS:
        raise TooManyMetadataKeys(keys=len(kept), most=MAX_METADATA_KEYS)
    return kept
