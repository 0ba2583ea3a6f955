"""Every saga there is, and the due work of an event with their deadlines."""

from collections.abc import Mapping
from typing import Any, Final

from domain.kernel.saga import Saga
from domain.kernel.stream import DueWork, Event, Stream
from domain.payments.charge_saga import CHARGE_SAGA
from domain.payments.refund_saga import REFUND_SAGA
from domain.subscriptions.renewal_saga import RENEWAL_SAGA

SAGAS: Final = (CHARGE_SAGA, REFUND_SAGA, RENEWAL_SAGA)


def _with_deadlines(sagas: tuple[Saga, ...]) -> Mapping[type, tuple[Saga, ...]]:
    timed = [saga for saga in sagas if saga.deadline is not None]
    events = {event for saga in timed for event in (saga.starts, *saga.moves)}
    return {event: tuple(saga for saga in timed if event in {saga.starts, *saga.moves}) for event in events}


_WITH_DEADLINES: Final = _with_deadlines(SAGAS)


def due_work(stream: Stream[Any], event: Event, state: Any) -> tuple[DueWork, ...]:
    """What an event causes, in order: what its stream says, and the deadlines of the sagas that it moves."""
    effects = stream.due_work(event, state)
    for saga in _WITH_DEADLINES.get(type(event), ()):
        effects += saga.due_work(event, state)
    return effects
