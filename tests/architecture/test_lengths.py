"""How long a randomized test runs is said in one place: `tests/lengths.py`."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lengths import DEFAULT, LENGTHS, VARIABLE

TESTS = Path(__file__).parents[1]


def figures_of_their_own(file: Path) -> Iterator[str]:
    """Where a number of examples is written out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "max_examples" and isinstance(node.value, ast.Constant):
            yield f"{file.relative_to(TESTS)}:{node.value.lineno}"


def test_no_test_writes_out_its_number_of_examples() -> None:
    places = [place for file in sorted(TESTS.rglob("*.py")) for place in figures_of_their_own(file)]
    assert not places, "say LENGTH.scaled(…) of tests/lengths.py"


@pytest.mark.parametrize(("asked_for", "runs"), [(None, DEFAULT), *((name, name) for name in LENGTHS)])
def test_the_length_that_is_asked_for_is_the_one_that_runs(asked_for: str | None, runs: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if asked_for is not None:
        environment[VARIABLE] = asked_for
    program = (
        "from hypothesis import settings; from tests.lengths import LENGTH; print(LENGTH.name, settings().max_examples)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == [runs, str(LENGTHS[runs].examples)]


def test_a_longer_length_tries_more_of_everything() -> None:
    quick, test, thorough = (LENGTHS[name] for name in ("quick", "test", "thorough"))
    for shorter, longer in ((quick, test), (test, thorough)):
        assert shorter.examples <= longer.examples
        assert shorter.oracle_cases <= longer.oracle_cases
        assert shorter.histories <= longer.histories
        assert shorter.lifecycles <= longer.lifecycles
        assert shorter.lifecycle_steps <= longer.lifecycle_steps
        assert shorter.kills <= longer.kills
        assert shorter.fault_rounds <= longer.fault_rounds
        assert shorter.fuzzed_requests <= longer.fuzzed_requests
        assert shorter.every_nth_zone >= longer.every_nth_zone
        assert shorter.scaled(10) <= longer.scaled(10)
    assert thorough.examples >= 1_000
    assert thorough.oracle_cases >= 10_000
    assert thorough.every_nth_zone == 1
