"""How an event of an old version becomes one of the next: (event type, old version) → function.

An upcaster takes and returns the event as plain data (see `generator.plain_shape`): decimals are text, instants
microseconds. A version without an upcaster gains the new fields' defaults. Upcasters run one after the other up to the
newest version, and only on reading: the log is never rewritten.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

Plain: TypeAlias = "bool | int | str | bytes | list[Plain] | tuple[str, Plain] | dict[str, Plain] | None"
PlainEvent: TypeAlias = dict[str, Plain]
Upcaster: TypeAlias = Callable[[PlainEvent], PlainEvent]

UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}
