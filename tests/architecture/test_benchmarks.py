"""What `make bench` runs is there to be run."""

import importlib

import pytest

from benchmarks.__main__ import SUITES


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_rows(suite: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{suite}").rows)
