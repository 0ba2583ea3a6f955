"""Seeded randomness for comparisons with an oracle: TEST_SEED=n repeats a run, or tries another."""

import os
from random import Random
from typing import Final

from tests.lengths import LENGTH

CASES: Final = LENGTH.oracle_cases
SEED_VARIABLE: Final = "TEST_SEED"
"""No setting of Tallybook: a process that loads settings refuses unknown variables that start like one."""
DEFAULT_SEED: Final = 20_240_229


def seeded() -> Random:
    """A generator whose seed pytest shows when the test fails."""
    seed = int(os.environ.get(SEED_VARIABLE, DEFAULT_SEED))
    print(f"{SEED_VARIABLE}={seed}")  # noqa: T201 # captured, shown on failure
    return Random(seed)
