"""The domain's dataclasses are values: frozen, and with slots."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

DOMAIN = Path(__file__).parents[2] / "domain"


def dataclasses_of(source: str) -> Iterator[tuple[str, set[str]]]:
    """Each dataclass of a module with the flags that it sets to True."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            match decorator:
                case ast.Name(id="dataclass"):
                    yield node.name, set()
                case ast.Call(func=ast.Name(id="dataclass"), keywords=keywords):
                    flags = {
                        keyword.arg or ""
                        for keyword in keywords
                        if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                    }
                    yield node.name, flags


@pytest.mark.parametrize("path", sorted(DOMAIN.rglob("*.py")), ids=lambda path: str(path.relative_to(DOMAIN)))
def test_dataclasses_of_the_domain_are_values(path: Path) -> None:
    for name, flags in dataclasses_of(path.read_text(encoding="utf-8")):
        assert {"frozen", "slots"} <= flags, name


def test_a_dataclass_that_is_no_value_is_seen() -> None:
    source = "@dataclass\nclass A: ...\n@dataclass(frozen=True, slots=False)\nclass B: ..."
    assert list(dataclasses_of(source)) == [("A", set()), ("B", {"frozen"})]
