"""Turns a shape into two Python functions, one that writes the Avro bytes and one that reads them.

The source is made once per type and compiled: field access, lengths and branches are spelled out, so an event costs
a few microseconds (benchmarks/codec.py has the figures beside fastavro's). Written by `_Writer`, read by `_Reader`;
both walk the shape in the same order, which is the order of Avro's binary encoding.
"""

from collections.abc import Callable
from types import MemberDescriptorType
from typing import Final, cast

from schemas import wire
from schemas.shapes import MISSING, OneOf, Optional, Record, Row, Scalar, Sequence, Shape, Symbol, Table

Encoder = Callable[[object], bytes]
Decoder = Callable[[bytes], object]

MAX_BRANCHES: Final = 63  # a union's branch is one byte on the wire

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


def compile_encoder(shape: Shape, prefix: bytes = b"") -> Encoder:
    """A function from a value to `prefix` and its Avro bytes. It raises UnencodableValue."""
    writer = _Writer()
    parts = writer.value(shape, "value")
    writer.line(f"return {_joined([writer.constant(prefix), *parts] if prefix else parts)}")
    return cast("Encoder", writer.compiled("encode", "value", "UnencodableValue", _title(shape)))


def compile_decoder(shape: Shape, prefix: bytes = b"") -> Decoder:
    """A function from bytes that start with `prefix` (not looked at) to the value. It raises MalformedPayload."""
    reader = _Reader()
    reader.line(f"at = {len(prefix)}")
    result = reader.value(shape)
    reader.line("if at != len(payload):")
    reader.line("    raise MalformedPayload(f'{len(payload)} bytes where the value ends at {at}')")
    reader.line(f"return {result}")
    return reader.compiled("decode", "payload", "MalformedPayload", _title(shape))


def slots_of(cls: type) -> dict[str, MemberDescriptorType] | None:
    """The slot of each field, for a dataclass whose __init__ does nothing but fill slots (and call __post_init__).

    A frozen dataclass's __init__ goes through object.__setattr__ and keywords, three times the cost of its slots. None
    for other classes: they are built by calling them.
    """
    parameters = cls.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.init or "__new__" in cls.__dict__:
        return None
    slots = {name: getattr(cls, name, None) for name in cls.__dict__["__dataclass_fields__"]}
    found = {name: slot for name, slot in slots.items() if isinstance(slot, MemberDescriptorType)}
    return found if len(found) == len(slots) else None


def _title(shape: Shape) -> str:
    return shape.name if isinstance(shape, Record) else type(shape).__name__


def _joined(parts: list[str]) -> str:
    match parts:
        case []:
            return "b''"
        case [one]:
            return one
        case _:
            return f"join(({', '.join(parts)}))"


class _Source:
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


class _Writer(_Source):
    """Emits the statements that prepare a value's parts; `value` returns the expressions to be joined."""

    def value(self, shape: Shape, given: str) -> list[str]:
        match shape:
            case Scalar():
                return self._scalar(shape, given)
            case Symbol():
                return [f"{self._symbols(shape)}[{given}]"]
            case Record():
                return self._record(shape, given)
            case Sequence():
                return self._sequence(shape, given)
            case Row(items=items):
                local = self._local(given)
                self.line(f"if len({local}) != {len(items)}:")
                self.line(f"    raise UnencodableValue('a row of other than {len(items)} parts')")
                return [part for index, item in enumerate(items) for part in self.value(item, f"{local}[{index}]")]
            case Table():
                return self._table(shape, given)
            case OneOf():
                return self._one_of(shape, given)
            case Optional(shape=inner):
                return self._optional(inner, given)

    def _local(self, given: str) -> str:
        if given.isidentifier():
            return given
        name = self.fresh("v")
        self.line(f"{name} = {given}")
        return name

    def _prefixed(self, encoded: str) -> list[str]:
        """A string's bytes behind their length."""
        count = self.fresh("n")
        self.line(f"{count} = len({encoded})")
        return [self._small(count), encoded]

    def _small(self, count: str) -> str:
        """A length or count, never negative."""
        return f"SMALL[{count}] if {count} < {wire.SMALL_COUNT} else long_bytes({count})"

    def _scalar(self, shape: Scalar, given: str) -> list[str]:
        match shape.kind:
            case "long":
                local = self._local(given)
                return [f"SMALL[{local}] if 0 <= {local} < {wire.SMALL_COUNT} else long_bytes({local})"]
            case "bool":
                return [f"b'\\x01' if {given} else b'\\x00'"]
            case "instant":
                return [f"instant_bytes({given})"]
            case "day":
                return [f"day_bytes({given})"]
            case "bytes":
                return self._prefixed(self._local(given))
            case kind:
                encoded = self.fresh("b")
                expressions = {"decimal": f"decimal_bytes({given})", "fraction": f"fraction_bytes({given})"}
                self.line(f"{encoded} = {expressions.get(kind, f'{given}.encode()')}")
                return self._prefixed(encoded)

    def _symbols(self, shape: Symbol) -> str:
        encoded: dict[object, bytes] = {}
        for member in shape.cls:
            if shape.text:
                text = str(member.value).encode()
                encoded[member] = wire.long_bytes(len(text)) + text
            else:
                encoded[member] = wire.long_bytes(member.value)
        return self.constant(encoded)

    def _record(self, shape: Record, given: str) -> list[str]:
        local = self._local(given)
        parts: list[str] = []
        for field in shape.fields:
            if shape.cls is not None:
                access = f"{local}.{field.name}"
            elif field.default is MISSING:
                access = f"{local}[{field.name!r}]"
            else:
                access = f"{local}.get({field.name!r}, {self.constant(field.default)})"
            parts += self.value(field.shape, access)
        return parts

    def _sequence(self, shape: Sequence, given: str) -> list[str]:
        items, chunks, item, result = self._local(given), self.fresh("l"), self.fresh("i"), self.fresh("b")
        self.indent(f"if {items}:")
        self.line(f"{chunks} = []")
        self.indent(f"for {item} in {items}:")
        parts = self.value(shape.item, item)
        is_set = shape.build in ("frozenset", "set")
        if is_set or len(parts) == 1:
            self.line(f"{chunks}.append({_joined(parts)})")
        else:
            self.line(f"{chunks} += ({', '.join(parts)})")
        self.dedent()
        if is_set:
            self.line(f"{chunks}.sort()")
        self._block(items, chunks, result)
        self.dedent()
        self.line("else:")
        self.line(f"    {result} = b'\\x00'")
        return [result]

    def _table(self, shape: Table, given: str) -> list[str]:
        items, chunks, result = self._local(given), self.fresh("l"), self.fresh("b")
        key, item = self.fresh("k"), self.fresh("i")
        self.indent(f"if {items}:")
        if shape.build == "pairs":
            self.line(f"if len({items}) > 1 and len(dict({items})) < len({items}):")
            self.line("    raise UnencodableValue('two pairs of one key')")
        self.line(f"{chunks} = []")
        self.indent(f"for {key}, {item} in {items}{'.items()' if shape.build == 'dict' else ''}:")
        parts = [*self.value(shape.key, key), *self.value(shape.value, item)]
        self.line(f"{chunks} += ({', '.join(parts)},)")
        self.dedent()
        self._block(items, chunks, result)
        self.dedent()
        self.line("else:")
        self.line(f"    {result} = b'\\x00'")
        return [result]

    def _block(self, items: str, chunks: str, result: str) -> None:
        count = self.fresh("n")
        self.line(f"{count} = len({items})")
        self.line(f"{chunks}.append(b'\\x00')")
        self.line(f"{result} = ({self._small(count)}) + join({chunks})")

    def _optional(self, inner: Shape, given: str) -> list[str]:
        local, result = self._local(given), self.fresh("b")
        self.line(f"if {local} is None:")
        self.line(f"    {result} = b'\\x00'")
        self.indent("else:")
        self.line(f"{result} = {_joined(['b' + repr(chr(2)), *self.value(inner, local)])}")
        self.dedent()
        return [result]

    def _one_of(self, shape: OneOf, given: str) -> list[str]:
        if len(shape.branches) > MAX_BRANCHES:
            raise wire.UnencodableValue(f"a union of more than {MAX_BRANCHES} records")
        local, result = self._local(given), self.fresh("b")
        keyword = "if"
        if shape.nullable:
            self.line(f"if {local} is None:")
            self.line(f"    {result} = b'\\x00'")
            keyword = "elif"
        for index, branch in enumerate(shape.branches):
            if branch.cls is None:  # a plain dict cannot say which record it is: it comes behind the record's name
                test, inside = f"{local}[0] == {branch.name!r}", f"{local}[1]"
            else:
                test, inside = f"type({local}) is {self.constant(branch.cls)}", local
            self.indent(f"{keyword} {test}:")
            marker = bytes((2 * (index + shape.nullable),))
            self.line(f"{result} = {_joined([repr(marker), *self.value(branch, inside)])}")
            self.dedent()
            keyword = "elif"
        self.line("else:")
        self.line(f"    raise UnencodableValue(type({local}).__name__ + ' is none of the declared classes')")
        return [result]


class _Reader(_Source):
    """Emits the statements that read a value from `payload` at `at`; `value` returns the expression that holds it.

    Slices do not raise when they run over the end; the next index, or the comparison at the very end, does.
    """

    def value(self, shape: Shape) -> str:
        match shape:
            case Scalar():
                return self._scalar(shape)
            case Symbol():
                return self._symbol(shape)
            case Record():
                return self._record(shape)
            case Sequence():
                return self._sequence(shape)
            case Row(items=items):
                return f"({''.join(self._kept(self.value(item)) + ', ' for item in items)})"
            case Table():
                return self._table(shape)
            case OneOf():
                return self._one_of(shape)
            case Optional(shape=inner):
                return self._optional(inner)

    def _kept(self, expression: str) -> str:
        """The expression in a variable of its own, evaluated now: `at` moves on."""
        if expression.isidentifier():
            return expression
        name = self.fresh("v")
        self.line(f"{name} = {expression}")
        return name

    def _scalar(self, shape: Scalar) -> str:
        match shape.kind:
            case "long":
                return self._long()
            case "instant":
                name = self.fresh("v")
                self.line(f"{name} = instant_of(payload[at:at + {wire.INSTANT_BYTES}])")
                self.line(f"if {name} is None:")
                self.line(f"    {name}, at = instant_at(payload, at)")
                self.line("else:")
                self.line(f"    at += {wire.INSTANT_BYTES}")
                return name
            case "day":
                return f"day_from({self._long()})"
            case "bool":
                name = self.fresh("v")
                self.line(f"{name} = TRUTHS[payload[at]]")
                self.line("at += 1")
                return name
            case "bytes":
                return self._octets()
            case "decimal" | "fraction" as kind:
                return f"{kind}_from({self._octets()})"
            case "text":
                return f"{self._octets()}.decode()"

    def _long(self) -> str:
        name = self.fresh("v")
        self.line(f"{name} = payload[at]")
        self.line(f"if {name} < 128:")
        self.line(f"    {name} = SMALL_LONG[{name}]")
        self.line("    at += 1")
        self.line("else:")
        self.line(f"    {name}, at = long_at(payload, at)")
        return name

    def _octets(self) -> str:
        """A slice expression of the payload; `at` is moved behind it, its bounds stay in names of their own."""
        start, end = self.fresh("s"), self.fresh("e")
        self.line(f"{end} = payload[at]")
        self.line(f"if {end} < 128:")
        self.line(f"    {start} = at + 1")
        self.line(f"    at = {end} = {start} + SMALL_LENGTH[{end}]")
        self.line("else:")
        self.line(f"    {end}, {start} = length_at(payload, at)")
        self.line(f"    at = {end} = {start} + {end}")
        return f"payload[{start}:{end}]"

    def _symbol(self, shape: Symbol) -> str:
        if shape.text:
            members: dict[object, object] = {str(member.value).encode(): member for member in shape.cls}
            return f"{self.constant(members)}[{self._octets()}]"
        return f"{self.constant({member.value: member for member in shape.cls})}[{self._long()}]"

    def _record(self, shape: Record) -> str:
        if shape.cls is None:
            entries = [f"{field.name!r}: {self.value(field.shape)}" for field in shape.fields]
            return f"{{{', '.join(entries)}}}"
        cls = self.constant(shape.cls)
        values = [(field.name, self.value(field.shape)) for field in shape.fields]
        slots = slots_of(shape.cls)
        if slots is None:
            return f"{cls}({', '.join(f'{name}={value}' for name, value in values)})"
        result = self.fresh("o")
        self.line(f"{result} = new({cls})")
        for name, value in values:
            self.line(f"{self.constant(slots[name].__set__)}({result}, {value})")
        if hasattr(shape.cls, "__post_init__"):
            self.line(f"{result}.__post_init__()")
        return result

    def _blocks(self, emit_item: Callable[[str], None], result: str) -> None:
        """Array and map alike: blocks of items until an empty one."""
        count = self.fresh("n")
        self.line(f"{result} = []")
        self.indent("while True:")
        self.line(f"{count} = payload[at]")
        self.line(f"if {count} < 128 and not {count} & 1:")
        self.line("    at += 1")
        self.line(f"    {count} >>= 1")
        self.line("else:")
        self.line(f"    {count}, at = count_at(payload, at)")
        self.line(f"if {count} == 0:")
        self.line("    break")
        self.indent(f"for _ in range({count}):")
        emit_item(result)
        self.dedent()
        self.dedent()

    def _sequence(self, shape: Sequence) -> str:
        result = self.fresh("l")
        self._blocks(lambda items: self.line(f"{items}.append({self.value(shape.item)})"), result)
        return result if shape.build == "list" else self._kept(f"{shape.build}({result})")

    def _table(self, shape: Table) -> str:
        result = self.fresh("l")

        def pair(items: str) -> None:
            key = self._kept(self.value(shape.key))
            self.line(f"{items}.append(({key}, {self.value(shape.value)}))")

        self._blocks(pair, result)
        return self._kept(f"{'dict' if shape.build == 'dict' else 'tuple'}({result})")

    def _optional(self, inner: Shape) -> str:
        result = self.fresh("v")
        self.line(f"{result} = payload[at]")
        self.line("at += 1")
        self.line(f"if {result} == 0:")
        self.line(f"    {result} = None")
        self.indent(f"elif {result} == 2:")
        self.line(f"{result} = {self.value(inner)}")
        self.dedent()
        self.line("else:")
        self.line("    raise MalformedPayload('a branch that the union does not have')")
        return result

    def _one_of(self, shape: OneOf) -> str:
        result = self.fresh("v")
        self.line(f"{result} = payload[at]")
        self.line("at += 1")
        keyword = "if"
        if shape.nullable:
            self.line(f"if {result} == 0:")
            self.line(f"    {result} = None")
            keyword = "elif"
        for index, branch in enumerate(shape.branches):
            self.indent(f"{keyword} {result} == {2 * (index + shape.nullable)}:")
            value = self.value(branch)
            self.line(f"{result} = {value if branch.cls is not None else f'({branch.name!r}, {value})'}")
            self.dedent()
            keyword = "elif"
        self.line("else:")
        self.line("    raise MalformedPayload('a branch that the union does not have')")
        return result
