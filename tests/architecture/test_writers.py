"""Writers to PostgreSQL are put together in one place, so that all of them decide alike."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / "infra" / "event_store" / "opening.py"
PACKAGES = ("api", "benchmarks", "cli", "infra", "processors", "projections", "schemas", "tests", "testing", "host")


def writers_over_postgres(source: str) -> list[int]:
    """The lines where a GroupCommitWriter is built over a PostgresStorage."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and _name(node.func) == "GroupCommitWriter" and node.args
        if isinstance(node.args[0], ast.Call) and _name(node.args[0].func) == "PostgresStorage"
    ]


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else ""


def test_a_writer_over_postgres_is_built_in_one_place() -> None:
    found = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if writers_over_postgres(path.read_text(encoding="utf-8"))
    }
    assert found == {HOME}
