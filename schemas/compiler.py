"""What the two compilers of codecs share: a function's source under construction, and turning it into the function.

`encoder.py` makes of a shape the function that writes its Avro bytes, `decoder.py` the one that reads them. The source
is made once per type: field access, lengths and branches are spelled out, so an event costs a few microseconds
(benchmarks/codec.py has the figures beside fastavro's).
"""

from collections.abc import Callable
from typing import Final

from schemas import wire
from schemas.shapes import Record, Shape

MAX_BRANCHES: Final = 63
"""Records in a union: its branch is one byte on the wire."""

_PRIMITIVES: Final[dict[str, object]] = {
    "SMALL": wire.SMALL,
    "SMALL_LONG": wire.SMALL_LONG,
    "SMALL_LENGTH": wire.SMALL_LENGTH,
    "TRUTHS": wire.TRUTHS,
    "long_bytes": wire.long_bytes,
    "long_at": wire.long_at,
    "length_at": wire.length_at,
    "count_at": wire.count_at,
    "instant_at": wire.instant_at,
    "instant_of": wire.instant_of,
    "instant_bytes": wire.instant_bytes,
    "day_bytes": wire.day_bytes,
    "day_from": wire.day_from,
    "decimal_bytes": wire.decimal_bytes,
    "decimal_from": wire.decimal_from,
    "fraction_bytes": wire.fraction_bytes,
    "fraction_from": wire.fraction_from,
    "MalformedPayload": wire.MalformedPayload,
    "UnencodableValue": wire.UnencodableValue,
    "join": b"".join,
    "new": object.__new__,
}


def title_of(shape: Shape) -> str:
    """What an error calls a value of this shape."""
    return shape.name if isinstance(shape, Record) else type(shape).__name__


class Source:
    """Lines of a function under construction, its fresh names, and the objects that it refers to."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = 2
        self._names = 0
        self._globals: dict[str, object] = dict(_PRIMITIVES)

    def line(self, text: str) -> None:
        self._lines.append("    " * self._indent + text)

    def fresh(self, stem: str) -> str:
        self._names += 1
        return f"{stem}{self._names}"

    def constant(self, value: object) -> str:
        name = self.fresh("C")
        self._globals[name] = value
        return name

    def indent(self, text: str) -> None:
        self.line(text)
        self._indent += 1

    def dedent(self) -> None:
        self._indent -= 1

    def compiled(self, name: str, argument: str, error: str, title: str) -> Callable[..., object]:
        """Whatever goes wrong inside is one named error: the generated lines hold no other checks."""
        source = "\n".join(
            [
                f"def {name}({argument}):",
                "    try:",
                *self._lines,
                f"    except {error}:",
                "        raise",
                "    except Exception as error:",
                f"        raise {error}({title!r} + ': ' + type(error).__name__ + ': ' + str(error)) from error",
            ]
        )
        exec(compile(source, f"<{name} {title}>", "exec"), self._globals)  # noqa: S102 - source is made from type hints
        function = self._globals[name]
        assert callable(function)
        return function
