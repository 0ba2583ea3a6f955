"""Seeded randomness for comparisons with an oracle: TALLYBOOK_TEST_SEED=n repeats a run, or tries another."""

import os
from random import Random

CASES = int(os.environ.get("ORACLE_CASES", "10000"))
DEFAULT_SEED = 20_240_229


def seeded() -> Random:
    """A generator whose seed pytest shows when the test fails."""
    seed = int(os.environ.get("TALLYBOOK_TEST_SEED", DEFAULT_SEED))
    print(f"TALLYBOOK_TEST_SEED={seed}")  # noqa: T201 # captured, shown on failure
    return Random(seed)
