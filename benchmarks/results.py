"""One row of the benchmarks' table."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured: ours in its unit, and ours divided by each peer of the same run (above 1: ours is faster)."""

    id: str
    ours: float
    unit: str
    ratios: dict[str, float] = field(default_factory=dict)
    notes: str = ""
