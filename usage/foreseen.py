"""What a closing would come to now: nothing is closed, and everything is as it is counted so far."""

from collections.abc import Sequence

from infra.database import Connection
from usage.closing import Closing
from usage.closings import Closed, Wanted, closed, closings_of, following, rows_hash
from usage.partials import counted_up_to
from usage.wire import partition_of_customer


async def foreseen(connection: Connection, wanted: Sequence[Wanted], *, partitions: int) -> list[Closed]:
    """What each of these closings of one customer would say, made one after the other."""
    found: list[Closed] = []
    before: dict[str, list[Closing]] = {}
    for each in wanted:
        partition = partition_of_customer(each.tenant_id, each.customer_id, partitions)
        reached = await counted_up_to(connection, partition)
        if each.meter_id not in before:
            before[each.meter_id] = await closings_of(connection, each.tenant_id, each.customer_id, each.meter_id)
        closing = following(before[each.meter_id], each, partition, reached)
        closing = closing._replace(sha256=await rows_hash(connection, each, before[each.meter_id], closing))
        found.append(await closed(connection, each, closing, tells_all=True))
        before[each.meter_id].append(closing)
    return found
