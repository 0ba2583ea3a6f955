"""How long the randomized tests run: the one place that says it, for every test.

`make test` runs the length `test`, `make prove` the length `thorough`: the same tests with more examples, more oracle
cases, more kills and longer fault runs. HYPOTHESIS_PROFILE names another length; `quick` is for mutation runs and for
the impatient. The variable is no setting of Tallybook, and no process that a test starts heeds it.

A randomized test either takes the profile's number of examples by saying nothing, or, where one example is costly,
says how many `make test` tries: `@settings(max_examples=LENGTH.scaled(25))`.
"""

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from hypothesis import HealthCheck, settings

VARIABLE: Final = "HYPOTHESIS_PROFILE"
DEFAULT: Final = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """One length of the randomized tests; every figure is a number of tries."""

    name: str
    examples: int
    """Per property that names no number of its own."""
    share: Fraction
    """Of what a property asks for that does name one."""
    histories: int
    """Whole histories, dozens of commands each with every check after each."""
    lifecycles: int
    """Lives of several customers, of so many commands each."""
    lifecycle_steps: int
    oracle_cases: int
    """Seeded comparisons with a slow and simple second calculation, per oracle."""
    every_nth_zone: int
    """Of the IANA time zones, in the walks over fifty years of all of them."""
    kills: int
    """Of real processes, per test that kills them under load."""
    fault_rounds: int
    """Of `tallybook faults`."""
    fuzzed_requests: int
    """Per operation of the API."""

    def scaled(self, examples: int) -> int:
        """How many examples to try where `make test` tries so many."""
        return max(1, round(examples * self.share))


LENGTHS: Final = {
    length.name: length
    for length in (
        Length(
            name="quick",
            examples=25,
            share=Fraction(1, 5),
            histories=25,
            lifecycles=5,
            lifecycle_steps=40,
            oracle_cases=100,
            every_nth_zone=10,
            kills=1,
            fault_rounds=1,
            fuzzed_requests=1,
        ),
        Length(
            name=DEFAULT,
            examples=100,
            share=Fraction(1),
            histories=40,
            lifecycles=20,
            lifecycle_steps=50,
            oracle_cases=1_000,
            every_nth_zone=10,
            kills=3,
            fault_rounds=2,
            fuzzed_requests=2,
        ),
        Length(
            name="thorough",
            examples=3_000,
            share=Fraction(20),
            histories=1_000,
            lifecycles=500,
            lifecycle_steps=60,
            oracle_cases=10_000,
            every_nth_zone=1,
            kills=20,
            fault_rounds=10,
            fuzzed_requests=25,
        ),
    )
}


def _load() -> Length:
    """Register a profile per length, and load the one that the environment names."""
    name = os.environ.get(VARIABLE) or DEFAULT
    if name not in LENGTHS:
        raise ValueError(f"{VARIABLE}={name} is not a length of the tests; there are {', '.join(LENGTHS)}.")
    for length in LENGTHS.values():
        settings.register_profile(
            f"tallybook-{length.name}",
            max_examples=length.examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        )
    # The same examples each time, and no files: a mutant is killed by its fault and not by chance, and the same commit
    # passes or fails each time it is tested. `make prove` draws others at each run.
    for same_each_time in ("quick", DEFAULT):
        profile = f"tallybook-{same_each_time}"
        settings.register_profile(
            profile, settings.get_profile(profile), derandomize=True, database=None, print_blob=False
        )
    settings.load_profile(f"tallybook-{name}")
    return LENGTHS[name]


LENGTH: Final = _load()
"""The length of this run."""
