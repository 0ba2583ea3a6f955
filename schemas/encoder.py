"""Compiles a shape into the function that writes its Avro bytes."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

from schemas import wire
from schemas.compiler import MAX_BRANCHES, Source, title_of
from schemas.shapes import (
    MISSING,
    TEXT,
    NumberOrText,
    OneOf,
    Optional,
    Record,
    Row,
    Scalar,
    Sequence,
    Shape,
    Symbol,
    Table,
)

Encoder = Callable[[object], bytes]


def compile_encoder(shape: Shape, prefix: bytes = b"") -> Encoder:
    """A function from a value to `prefix` and its Avro bytes. It raises UnencodableValue."""
    writer = _Writer()
    parts = writer.value(shape, "value")
    writer.line(f"return {_joined([writer.constant(prefix), *parts] if prefix else parts)}")
    return cast("Encoder", writer.compiled("encode", "value", "UnencodableValue", title_of(shape)))


def _joined(parts: list[str]) -> str:
    match parts:
        case []:
            return "b''"
        case [one]:
            return one
        case _:
            return f"join(({', '.join(parts)}))"


class _Writer(Source):
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
            case NumberOrText():
                return self._number_or_text(shape, given)
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

    def _number_or_text(self, shape: NumberOrText, given: str) -> list[str]:
        local = self._local(given)
        branches = [
            (f"type({local}) is {cls}", partial(self._scalar, scalar, local))
            for scalar, cls in ((Scalar("long"), "int"), (TEXT, "str"))
        ]
        return self._union(local, branches, nullable=shape.nullable, otherwise="neither a whole number nor text")

    def _one_of(self, shape: OneOf, given: str) -> list[str]:
        if len(shape.branches) > MAX_BRANCHES:
            raise wire.UnencodableValue(f"a union of more than {MAX_BRANCHES} records")
        local = self._local(given)
        branches: list[tuple[str, Callable[[], list[str]]]] = []
        for branch in shape.branches:
            if branch.cls is None:  # a plain dict cannot say which record it is: it comes behind the record's name
                test, inside = f"{local}[0] == {branch.name!r}", f"{local}[1]"
            else:
                test, inside = f"type({local}) is {self.constant(branch.cls)}", local
            branches.append((test, partial(self.value, branch, inside)))
        return self._union(local, branches, nullable=shape.nullable, otherwise="none of the declared classes")

    def _union(
        self,
        local: str,
        branches: Iterable[tuple[str, Callable[[], list[str]]]],
        *,
        nullable: bool,
        otherwise: str,
    ) -> list[str]:
        """The branch whose test holds, behind its number; a null comes first where there is one."""
        result = self.fresh("b")
        keyword = "if"
        if nullable:
            self.line(f"if {local} is None:")
            self.line(f"    {result} = b'\\x00'")
            keyword = "elif"
        for index, (test, parts) in enumerate(branches):
            self.indent(f"{keyword} {test}:")
            marker = bytes((2 * (index + nullable),))
            self.line(f"{result} = {_joined([repr(marker), *parts()])}")
            self.dedent()
            keyword = "elif"
        self.line("else:")
        self.line(f"    raise UnencodableValue(type({local}).__name__ + ' is {otherwise}')")
        return [result]
