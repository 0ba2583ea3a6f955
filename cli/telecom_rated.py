"""What the usage of the telecom month must come to: reckoned from what is sent alone, by nothing of what counts it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cli.telecom_customers import CURRENCY, GIGABYTES, MESSAGES, MINUTES, TelecomCustomer
from cli.telecom_events import HALF_S, ONE, Step, Usage, UsageEvent

MINUTE: Final = 15
GIGABYTE: Final = 200
GIGABYTE_BEYOND: Final = 125
"""Tenths of a minor unit."""
GIGABYTES_FIRST: Final = 10
PACKAGE: Final = 50
PACKAGE_COSTS: Final = 40

MODELS: Final[Mapping[str, Mapping[str, object]]] = {
    MINUTES: {"type": "per_unit", "currency": CURRENCY, "unit_amount": f"{MINUTE / 10:g}"},
    GIGABYTES: {
        "type": "graduated",
        "currency": CURRENCY,
        "tiers": [
            {"up_to": GIGABYTES_FIRST, "unit_amount": f"{GIGABYTE / 10:g}"},
            {"up_to": None, "unit_amount": f"{GIGABYTE_BEYOND / 10:g}"},
        ],
    },
    MESSAGES: {"type": "package", "currency": CURRENCY, "package_size": PACKAGE, "package_amount": PACKAGE_COSTS},
}
"""The prices as the API takes them."""

Quantities = Mapping[str, int]
"""Thousandths of a unit, by meter."""


@dataclass(slots=True, kw_only=True)
class ExpectedUsage:
    """What comes of what is sent. `counts` is how many events count in the end, `late_lines` and `late_amount` what the
    second cycle bills of periods that were billed; quantities are in thousandths, by meter, amounts in minor units.
    """

    sent: int = 0
    counts: int = 0
    duplicates: int = 0
    conflicts: int = 0
    voided: int = 0
    corrected: int = 0
    late: int = 0
    late_lines: int = 0
    late_amount: int = 0
    quantities: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    at_change: dict[str, int] = field(default_factory=dict)
    """What the invoice of a customer's changed contract bills of usage."""
    at_end: dict[str, int] = field(default_factory=dict)
    """The same of the second cycle."""

    def bill(self, quantities: Quantities) -> int:
        """A line for each meter that counted something in a period; returns what they come to."""
        costs = {meter: cost(meter, thousandths) for meter, thousandths in quantities.items()}
        self.amounts.update(costs)
        return sum(costs.values())

    def bill_late(self, quantities: Quantities, before: Quantities) -> int:
        """The same for each meter of which more is known of a period than was billed before."""
        more = {
            meter: cost(meter, thousandths) - cost(meter, before.get(meter, 0))
            for meter, thousandths in quantities.items()
            if thousandths != before.get(meter, 0)
        }
        self.amounts.update(more)
        self.late_lines += len(more)
        self.late_amount += sum(more.values())
        return sum(more.values())


def expected_usage(rows: Iterable[TelecomCustomer], usage: Usage) -> ExpectedUsage:
    """Of all customers."""
    found = ExpectedUsage()
    for row in rows:
        if row.services:
            _add(found, row, usage)
    return found


def _add(found: ExpectedUsage, row: TelecomCustomer, usage: Usage) -> None:
    counted: dict[str, UsageEvent] = {}
    at_change: Quantities = {}
    for step in Step:
        for event in usage.sent(row, step):
            found.sent += 1
            first = counted.get(event.id)
            if first is None:
                counted[event.id] = event
                found.late += step is Step.LATE
            else:
                found.duplicates += first == event
                found.conflicts += first != event
        if step is Step.BEFORE_CHANGES:
            at_change = _before_changes(counted.values())
    mistake = usage.mistake(row)
    if mistake is not None:
        wrong, instead = mistake
        del counted[wrong.id]
        if instead is None:
            found.voided += 1
        else:
            found.corrected += 1
            counted[instead.id] = instead
    found.counts += len(counted)
    before, whole = _before_changes(counted.values()), _quantities(counted.values())
    found.quantities.update(whole)
    after = {meter: whole[meter] - before.get(meter, 0) for meter in whole}
    if row.changes is None:
        billed = found.bill(whole)
    elif not row.billed_at_change:
        billed = found.bill(before) + found.bill(after)
    else:
        found.at_change[row.external_id] = found.bill(at_change)
        billed = found.bill(after) + found.bill_late(before, at_change)
    found.at_end[row.external_id] = billed


def cost(meter: str, thousandths: int) -> int:
    """What so much of a period costs, in minor units: rounded once."""
    if meter == MESSAGES:
        return -(-thousandths // (PACKAGE * ONE)) * PACKAGE_COSTS
    if meter == MINUTES:
        return half_up(thousandths * MINUTE, 10 * ONE)
    first = min(thousandths, GIGABYTES_FIRST * ONE)
    return half_up(first * GIGABYTE + (thousandths - first) * GIGABYTE_BEYOND, 10 * ONE)


def _before_changes(events: Iterable[UsageEvent]) -> Quantities:
    return _quantities(event for event in events if event.at_s < HALF_S)


def _quantities(events: Iterable[UsageEvent]) -> Quantities:
    found: Counter[str] = Counter()
    for event in events:
        found[event.meter] += event.thousandths
    return found


def half_up(numerator: int, denominator: int) -> int:
    """A positive fraction to the nearest whole number; a half goes up."""
    return (2 * numerator + denominator) // (2 * denominator)
