"""How event types change: which version of each is written, and how an event of an old one becomes one of the next.

To change an event after its release: change its dataclass so that each new field has a default, set the next number in
VERSIONS, write an upcaster if old events need more than the defaults, and run `make schemas`. A change that Avro cannot
resolve both ways is a new event type.

An upcaster, by (event type, old version), takes and returns the event as plain data (see `generator.plain_shape`):
decimals are text, instants microseconds. A version without one gains the new fields' defaults. They run one after the
other up to the newest version, and only on reading: the log is never rewritten.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

Plain: TypeAlias = "bool | int | str | bytes | list[Plain] | tuple[str, Plain] | dict[str, Plain] | None"
PlainEvent: TypeAlias = dict[str, Plain]
Upcaster: TypeAlias = Callable[[PlainEvent], PlainEvent]

VERSIONS: Final[dict[str, int]] = {}
"""What is not listed is at version 1."""

UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}
