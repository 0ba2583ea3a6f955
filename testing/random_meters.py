"""Commands about meters, for random histories."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation
from domain.metering.meter import (
    ArchiveMeter,
    CreateMeter,
    MeterTerms,
    PropertyFilter,
    RenameMeter,
    ReviseMeter,
)

NEEDS_NO_VALUE = {Aggregation.COUNT, Aggregation.UNIQUE}


def metered(known: dict[str, list[str]], new: Callable[[str], str], now: datetime, n: int) -> Iterator[Command]:
    """One of each sort, some with a code that is taken; what is there is revised, renamed or archived."""
    aggregation = tuple(Aggregation)[n % len(Aggregation)]
    yield CreateMeter(
        meter_id=new("mtr_"),
        code=f"meter_{n % 997}",
        name=f"Meter {n}",
        aggregation=aggregation,
        unit="GB" if n % 2 else None,
        terms=MeterTerms(
            value_property=None if aggregation in NEEDS_NO_VALUE else "amount",
            unique_property="user" if aggregation is Aggregation.UNIQUE else None,
            filters=(PropertyFilter(name="region", values=("eu", "us")),) * (n % 2),
            group_by=("region", "model")[: n % 3],
        ),
        metadata=(("order", str(n)),),
    )
    meter_ids = known.get("meter")
    if not meter_ids:
        return
    meter_id = meter_ids[n % len(meter_ids)]
    yield ReviseMeter(
        meter_id=meter_id, group_by=("plan",) * (n % 2), effective_from=now + timedelta(minutes=10 + n % 40)
    )
    yield RenameMeter(meter_id=meter_id, name=f"Meter {n % 3}")
    if n % 5 == 0:
        yield ArchiveMeter(meter_id=meter_id)
