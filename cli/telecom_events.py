"""The usage of the telecom month: what each customer's services count, the same in every run.

Every event is made of the customer's id and a fixed seed. Some are sent again, some again with another content, some
come only after their period was billed, and of some customers one was a mistake.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from cli.telecom_customers import GIGABYTES, MESSAGES, MINUTES, TelecomCustomer

SEED: Final = 2026
EACH: Final = 1_000
"""Events of a customer, unless somebody wants another number of all."""
EACH_MIN: Final = 40
"""So few have one of each kind."""

VALUE: Final = "amount"
"""The property of which minutes and gigabytes are the sum. Messages are counted."""
MOST: Final[Mapping[str, int]] = {MINUTES: 12_000, GIGABYTES: 2_000}
"""In thousandths of a unit, of one event."""
ONE: Final = 1_000

DAY_S: Final = 86_400
HALF_S: Final = 15 * DAY_S
"""When contracts change, in seconds since the month began."""
LAST_S: Final = 31 * DAY_S - 900
"""When the last event is sent: a test clock that stood at the month's end would have billed it."""

LATE_EVERY: Final = 10
AGAIN_EVERY: Final = 50
AGAIN: Final = 7
CONFLICT_EVERY: Final = 500
CONFLICT: Final = 11
MISTAKE: Final = 3


class Step(IntEnum):
    """When events are sent: of the first half before contracts change, late ones after it, then those of the second."""

    BEFORE_CHANGES = 0
    LATE = 1
    AFTER_CHANGES = 2


class UsageEvent(NamedTuple):
    """`at_s` is seconds since the month began, `thousandths` of the meter's unit. A message is one."""

    id: str
    meter: str
    at_s: int
    thousandths: int


@dataclass(frozen=True, slots=True)
class Usage:
    """So many events of each customer whose tariff counts them."""

    each: int

    @classmethod
    def of(cls, rows: Sequence[TelecomCustomer], wanted: int | None) -> "Usage":
        """About so many events of all of them together."""
        metered = sum(bool(row.services) for row in rows)
        return cls(EACH if wanted is None else max(EACH_MIN, round(wanted / max(1, metered))))

    def events(self, row: TelecomCustomer, half: int) -> Iterator[tuple[int, UsageEvent]]:
        """What happened in a half (0 or 1) of the month, numbered through the whole of it."""
        if not row.services:
            return
        chance = random.Random(f"{SEED}/{row.external_id}/{half}").random  # noqa: S311  a story, not a secret
        begins, ends = ((0, HALF_S), (HALF_S, LAST_S))[half]
        for number in self._numbers(half):
            meter = row.services[int(chance() * len(row.services))]
            at_s = begins + int(chance() * (ends - begins))
            most = MOST.get(meter)
            thousandths = ONE if most is None else 1 + int(chance() * most)
            yield number, UsageEvent(f"{row.external_id}/{number}", meter, at_s, thousandths)

    def sent(self, row: TelecomCustomer, step: Step) -> Iterator[UsageEvent]:
        """What is sent then, in its order: first everything once, then what is sent again."""
        again: list[UsageEvent] = []
        for number, event in self.events(row, _half(step)):
            if _is_sent(row, number, step):
                yield event
                if number % AGAIN_EVERY == AGAIN:
                    again.append(event)
                if number % CONFLICT_EVERY == CONFLICT:
                    again.append(event._replace(at_s=event.at_s + 1, thousandths=event.thousandths + ONE))
        yield from again

    def how_many(self, row: TelecomCustomer, step: Step) -> int:
        """How many are sent then, those that are sent again among them."""
        if not row.services:
            return 0
        return sum(
            1 + (number % AGAIN_EVERY == AGAIN) + (number % CONFLICT_EVERY == CONFLICT)
            for number in self._numbers(_half(step))
            if _is_sent(row, number, step)
        )

    def mistake(self, row: TelecomCustomer) -> tuple[UsageEvent, UsageEvent | None] | None:
        """The event that is taken back, and what comes in its place: nothing, or twice as much where the meter sums."""
        if row.mistake is None:
            return None
        wrong = next(event for number, event in self.events(row, 0) if number == MISTAKE)
        if row.mistake == "voided":
            return wrong, None
        twice = ONE if wrong.meter == MESSAGES else 2 * wrong.thousandths
        return wrong, wrong._replace(id=f"{wrong.id}/corrected", thousandths=twice)

    def _numbers(self, half: int) -> range:
        middle = self.each // 2
        return range(middle) if half == 0 else range(middle, self.each)


def _half(step: Step) -> int:
    return 1 if step is Step.AFTER_CHANGES else 0


def _is_sent(row: TelecomCustomer, number: int, step: Step) -> bool:
    """Of who is billed when the contract changes, some events of the time before come only after it."""
    if step is Step.AFTER_CHANGES:
        return True
    return (row.billed_at_change and number % LATE_EVERY == 0) is (step is Step.LATE)
