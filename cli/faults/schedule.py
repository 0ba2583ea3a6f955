"""What goes wrong, when, and with whom: drawn from a seed alone, so that a seed says everything about a schedule."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEASE_S: Final = 2.0
"""The longest lease or session of the roles under test (s); a freeze lasts longer than this."""

LOAD_S: Final = 3.5
"""How long a round's load runs, at least (s)."""

INSTANCES: Final = {"api": 2, "relay": 2, "processors": 2, "projections": 2, "gateway": 1}
"""Processes of each role under test."""

SERVERS: Final = ("kafka", "postgres")


class FaultKind(StrEnum):
    KILL = "kill"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`at_s` counts from the round's start. `for_s`: how long a freeze lasts, or a server stays down."""

    kind: FaultKind
    target: str
    at_s: float
    for_s: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} at {self.at_s:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: its faults in order, and the gateway's switches (rates by name), empty for a well-behaved gateway."""

    number: int
    faults: tuple[Fault, ...]
    gateway: dict[str, float]


def schedule(seed: int, rounds: int) -> list[Round]:
    """The rounds of a seed; the first rounds of a longer schedule are those of a shorter one."""
    return [_round(random.Random(f"{seed}:{number}"), number) for number in range(1, rounds + 1)]  # noqa: S311


def _round(chance: random.Random, number: int) -> Round:
    roles = [f"{role}-{instance}" for role, count in INSTANCES.items() for instance in range(count)]
    faults = [_kill(chance, target) for target in chance.sample(roles, chance.randint(1, 2))]
    # Each server goes down in every third round on average.
    faults += [_kill(chance, server) for server in SERVERS if chance.random() < 1 / 3]
    if chance.random() < 1 / 2:
        frozen = chance.choice([name for name in roles if not name.startswith("gateway")])
        faults.append(
            Fault(
                kind=FaultKind.FREEZE,
                target=frozen,
                at_s=chance.uniform(0.2, 1.2),
                for_s=LEASE_S + chance.uniform(0.3, 1.2),
            )
        )
    switches: dict[str, float] = {}
    if chance.random() < 2 / 3:
        switches = {
            "seed": chance.randrange(2**31),
            "timeout_after_charge": chance.choice([0.0, 0.05, 0.15]),
            "timeout_before_charge": chance.choice([0.0, 0.05]),
            "error_after_charge": chance.choice([0.0, 0.1]),
            "rate_limit": chance.choice([0.0, 0.1]),
            "latency": 0.3,
            "latency_min_ms": 5,
            "latency_max_ms": 200,
        }
    return Round(number=number, faults=tuple(sorted(faults, key=lambda fault: fault.at_s)), gateway=switches)


def _kill(chance: random.Random, target: str) -> Fault:
    return Fault(
        kind=FaultKind.KILL, target=target, at_s=chance.uniform(0.2, LOAD_S - 0.5), for_s=chance.uniform(0.05, 0.5)
    )
