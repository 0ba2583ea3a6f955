"""Compiles a shape into the function that reads its Avro bytes."""

from collections.abc import Callable, Iterable
from types import MemberDescriptorType

from schemas import wire
from schemas.compiler import Source, title_of
from schemas.shapes import TEXT, NumberOrText, OneOf, Optional, Record, Row, Scalar, Sequence, Shape, Symbol, Table

Decoder = Callable[[bytes], object]


def compile_decoder(shape: Shape, prefix: bytes = b"") -> Decoder:
    """A function from bytes that start with `prefix` (not looked at) to the value. It raises MalformedPayload."""
    reader = _Reader()
    reader.line(f"at = {len(prefix)}")
    result = reader.value(shape)
    reader.line("if at != len(payload):")
    reader.line("    raise MalformedPayload(f'{len(payload)} bytes where the value ends at {at}')")
    reader.line(f"return {result}")
    return reader.compiled("decode", "payload", "MalformedPayload", title_of(shape))


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


class _Reader(Source):
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
            case NumberOrText(nullable=nullable):
                return self._branches((Scalar("long"), TEXT), nullable=nullable)
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
        return self._branches(shape.branches, nullable=shape.nullable)

    def _branches(self, branches: Iterable[Record | Scalar], *, nullable: bool) -> str:
        result = self.fresh("v")
        self.line(f"{result} = payload[at]")
        self.line("at += 1")
        keyword = "if"
        if nullable:
            self.line(f"if {result} == 0:")
            self.line(f"    {result} = None")
            keyword = "elif"
        for index, branch in enumerate(branches):
            self.indent(f"{keyword} {result} == {2 * (index + nullable)}:")
            value = self.value(branch)
            if isinstance(branch, Record) and branch.cls is None:
                value = f"({branch.name!r}, {value})"
            self.line(f"{result} = {value}")
            self.dedent()
            keyword = "elif"
        self.line("else:")
        self.line("    raise MalformedPayload('a branch that the union does not have')")
        return result
