"""What goes wrong, when, and with whom: drawn from a seed alone, so that a seed says everything about a schedule."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LOAD_S: Final = 3.5
"""How long a round's load runs, at least (s)."""

INSTANCES: Final = {"api": 2, "relay": 2, "processors": 2, "projections": 2, "metering": 2, "ingest": 1, "gateway": 1}
"""Processes of each role under test."""

SERVERS: Final = ("kafka", "postgres")
DISK, TOPICS, CALLS = "disk", "topics", "calls"

SHORT_LEASE_S: Final = 2.0
"""Every lease and session of the roles in most rounds (s), so that taking over is seen many times in a few minutes."""

DEFAULT_LEASE_S: Final = 10.0
DEFAULT_WORK_LEASE_S: Final = 30.0
"""Those of the settings as they come: the relay's lease and a consumer's session, and the lease of due work (s)."""

ROUNDS_IN_BLOCK: Final = 10
DEFAULT_ROUNDS_IN_BLOCK: Final = 3
"""Of every so many rounds, the last so many run with the leases of the settings as they come."""


class FaultKind(StrEnum):
    """What goes wrong. The value is how a round names it."""

    KILL = "kill"
    FREEZE = "freeze"
    FOREIGN = "foreign records on"
    LOSS = "loss of"
    FULL = "full"
    DAY = "a day passes for"

    @property
    def plural(self) -> str:
        """How totals name it."""
        return _PLURALS[self]


_PLURALS: Final = {
    FaultKind.KILL: "kills",
    FaultKind.FREEZE: "freezes",
    FaultKind.FOREIGN: "foreign records",
    FaultKind.LOSS: "losses",
    FaultKind.FULL: "full disks",
    FaultKind.DAY: "key windows passed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`at_s` counts from the round's start. `for_s`: how long a freeze or a full disk lasts, or a server stays down."""

    kind: FaultKind
    target: str
    at_s: float
    for_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.target} at {self.at_s:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: its faults in order, and the gateway's switches (rates by name), empty for a well-behaved gateway."""

    number: int
    faults: tuple[Fault, ...]
    gateway: dict[str, float]
    default_leases: bool

    @property
    def breaks_store(self) -> bool:
        """Whether PostgreSQL may go away, or be unable to write."""
        return any(fault.target in ("postgres", DISK) for fault in self.faults)

    def __str__(self) -> str:
        leases = "; leases as they come" if self.default_leases else ""
        return f"{'; '.join(map(str, self.faults))}{leases}"


def schedule(seed: int, rounds: int) -> list[Round]:
    """The rounds of a seed; the first rounds of a longer schedule are those of a shorter one."""
    return [_round(random.Random(f"{seed}:{number}"), number) for number in range(1, rounds + 1)]  # noqa: S311


def _round(chance: random.Random, number: int) -> Round:
    default_leases = (number - 1) % ROUNDS_IN_BLOCK >= ROUNDS_IN_BLOCK - DEFAULT_ROUNDS_IN_BLOCK
    roles = [f"{role}-{instance}" for role, count in INSTANCES.items() for instance in range(count)]
    faults = [_kill(chance, target) for target in chance.sample(roles, chance.randint(1, 2))]
    # Each server goes down in every fourth round on average.
    faults += [_kill(chance, server) for server in SERVERS if chance.random() < 1 / 4]
    # A role is frozen in every other round, and what all roles need (the gateway, a server) in two of five.
    own = [name for name in roles if not name.startswith("gateway")]
    if chance.random() < 1 / 2:
        faults.append(_freeze(chance, chance.choice(own), default_leases=default_leases))
    if chance.random() < 2 / 5:
        faults.append(_freeze(chance, chance.choice(("gateway-0", *SERVERS)), default_leases=default_leases))
    if chance.random() < 1 / 3:
        faults.append(Fault(kind=FaultKind.FOREIGN, target=TOPICS, at_s=chance.uniform(0.2, LOAD_S)))
    if chance.random() < 1 / 6:
        faults.append(Fault(kind=FaultKind.LOSS, target=TOPICS, at_s=chance.uniform(0.2, LOAD_S)))
    if chance.random() < 1 / 5:
        faults.append(
            Fault(kind=FaultKind.FULL, target=DISK, at_s=chance.uniform(0.2, 2.0), for_s=chance.uniform(0.5, 2.0))
        )
    if chance.random() < 1 / 4:
        faults.append(Fault(kind=FaultKind.DAY, target=CALLS, at_s=chance.uniform(0.8, 2.0)))
    return Round(
        number=number,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        gateway=_switches(chance),
        default_leases=default_leases,
    )


def _switches(chance: random.Random) -> dict[str, float]:
    if chance.random() < 1 / 3:
        return {}
    return {
        "seed": chance.randrange(2**31),
        "timeout_after_charge": chance.choice([0.0, 0.05, 0.15]),
        "timeout_before_charge": chance.choice([0.0, 0.05]),
        "error_after_charge": chance.choice([0.0, 0.1]),
        "rate_limit": chance.choice([0.0, 0.1]),
        "latency": 0.3,
        "latency_min_ms": 5,
        "latency_max_ms": 200,
    }


def _kill(chance: random.Random, target: str) -> Fault:
    return Fault(
        kind=FaultKind.KILL, target=target, at_s=chance.uniform(0.2, LOAD_S - 0.5), for_s=chance.uniform(0.05, 0.5)
    )


def _freeze(chance: random.Random, target: str, *, default_leases: bool) -> Fault:
    """It lasts longer than the longest lease that the frozen part holds."""
    lease_s = SHORT_LEASE_S
    if default_leases:
        lease_s = DEFAULT_WORK_LEASE_S if target.startswith("processors") else DEFAULT_LEASE_S
    return Fault(
        kind=FaultKind.FREEZE,
        target=target,
        at_s=chance.uniform(0.2, 1.2),
        for_s=lease_s + chance.uniform(0.3, 1.2),
    )
