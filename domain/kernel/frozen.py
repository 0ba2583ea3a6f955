"""Copies of frozen values with some fields changed: what every `evolve` does with every event."""

from collections import deque
from collections.abc import Callable
from dataclasses import fields
from itertools import repeat
from operator import attrgetter, call
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

Value = TypeVar("Value")

if TYPE_CHECKING:
    from dataclasses import replace as replace  # the same signature, which type checkers know by this name
else:

    def replace(value: Value, /, **changes: object) -> Value:
        """The same as `dataclasses.replace` in half the time, for dataclasses with slots whose fields are their own.

        Every slot is copied, without `__init__` and its assignments by name. Raises TypeError for an unknown field.
        """
        cls = type(value)
        slots = _SLOTS.get(cls) or _slots_of(cls)
        copy = object.__new__(cls)
        _drain(map(call, slots.writers, repeat(copy), slots.read(value)))
        try:
            for name, content in changes.items():
                slots.write[name](copy, content)
        except KeyError as error:
            raise TypeError(f"{cls.__name__} has no field {error}") from None
        return copy


class _Slots(NamedTuple):
    """How all fields of a class are read at once, and how each is written."""

    read: Callable[[Any], tuple[Any, ...]]
    writers: tuple[Callable[[Any, Any], None], ...]
    write: dict[str, Callable[[Any, Any], None]]


_SLOTS: dict[type, _Slots] = {}
_drain = deque[None](maxlen=0).extend


def _slots_of(cls: type) -> _Slots:
    if hasattr(cls, "__post_init__") or not vars(cls)["__dataclass_params__"].init:
        raise TypeError(f"{cls.__name__} checks itself when it is made: make a new one")
    names = [field.name for field in fields(cls)]
    writers = tuple(getattr(cls, name).__set__ for name in names)
    # With a name twice, so that one field, too, is read as a tuple.
    slots = _SLOTS[cls] = _Slots(attrgetter(*names, names[0]), writers, dict(zip(names, writers, strict=True)))
    return slots
