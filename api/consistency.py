"""Reading one's own writes: a query that names a position waits until what it reads has come that far."""

from api.call import Call
from api.operations import Operation
from api.replies import Header


async def await_position(call: Call, operation: Operation) -> tuple[Header, ...]:
    """Wait for Min-Ledger-Position, if it was sent."""
    return ()
