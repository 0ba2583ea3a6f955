"""The telecom month: what it must come to, computed from the CSV alone, and a small run of it on real parts."""

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from cli.telecom_customers import CSV_FILE, TelecomCustomer, read_customers
from cli.telecom_events import Usage
from cli.telecom_expected import expected_month
from cli.telecom_rated import expected_usage
from host.embedded.process import free_port

RUN_LIMIT_S = 240


CENT = Decimal("0.01")
RATES = (("IE", "0.23"), ("DE", "0.19"), ("FR", "0.20"))
LEFT_OF_JANUARY = Fraction(16, 31)

Taxes = dict[tuple[str, str], tuple[Decimal, Decimal]]


def cents(amount: Decimal | Fraction) -> Decimal:
    exact = Fraction(amount)
    return (Decimal(exact.numerator) / exact.denominator).quantize(CENT, ROUND_HALF_UP)


Quantities = Counter[str]
"""Thousandths, by meter."""


@dataclass
class Used:
    """What the events of one customer come to, by another road: from what happened, not from what was sent.

    `known` is what had come of the first half when contracts changed, `first` all of it in the end.
    """

    known: Quantities = field(default_factory=Counter)
    first: Quantities = field(default_factory=Counter)
    second: Quantities = field(default_factory=Counter)

    @classmethod
    def of(cls, row: TelecomCustomer, usage: Usage, *, some_late: bool) -> "Used":
        used = cls()
        for half in (0, 1):
            for number, event in usage.events(row, half):
                quantity = event.thousandths
                if half == 0 and not (some_late and number % 10 == 0):
                    used.known[event.meter] += quantity
                if number == 3 and row.mistake is not None:
                    counts_only = event.meter == "messages"
                    quantity *= 0 if row.mistake == "voided" else 1 if counts_only else 2
                (used.second if half else used.first)[event.meter] += quantity
        return used

    @property
    def late_lines(self) -> int:
        return sum(self.first[meter] != self.known[meter] for meter in self.first)


def rated(*slices: Quantities) -> Decimal:
    """What the tariff says, each slice of time by itself."""
    cost = Decimal(0)
    for quantities in slices:
        gigabytes = Decimal(quantities["gigabytes"]) / 1000
        cost += cents(Decimal(quantities["minutes"]) / 1000 * Decimal("0.015"))
        cost += -(-quantities["messages"] // 50_000) * Decimal("0.40")
        cost += cents(gigabytes * Decimal("0.20") if gigabytes <= 10 else 2 + (gigabytes - 10) * Decimal("0.125"))
    return cost


@dataclass
class Reading:
    """A reading of the file that shares nothing with the demo's: invoices with their amounts, and what bore tax."""

    january: list[Decimal] = field(default_factory=list)
    changes: list[Decimal] = field(default_factory=list)
    credited: list[Decimal] = field(default_factory=list)
    february: list[Decimal] = field(default_factory=list)
    taxes: Taxes = field(default_factory=dict)
    late: list[Decimal] = field(default_factory=list)
    owed: list[Decimal] = field(default_factory=list)
    usage: Usage | None = None
    customers: list[TelecomCustomer] = field(default_factory=list)
    changed: int = 0
    metered: int = 0
    late_lines: int = 0

    @classmethod
    def of_the_file(cls, usage: Usage | None = None) -> "Reading":
        read = cls(usage=usage)
        read.customers = read_customers()
        with CSV_FILE.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines)):
                read._row(number, row)
        return read

    def _row(self, number: int, row: dict[str, str]) -> None:
        country, rate = RATES[number % 3]
        treatment = {1: "exempt", 2: "reverse_charge"}.get(number, "taxed")
        factor = Decimal(rate) if treatment == "taxed" else Decimal(0)

        def billed(net: Decimal) -> Decimal:
            tax = cents(net * factor)
            self._taxed(country, treatment, net, tax)
            return net + tax

        price = Decimal(row["MonthlyCharges"])
        first = price - cents(price / 5) if row["Contract"] == "Two year" else price
        self.january.append(billed(first))
        if number == 0:
            gross = self.january[-1]
            half = (gross / 2).quantize(CENT, ROUND_DOWN)
            net = cents(first * half / gross)
            self._taxed(country, treatment, -net, net - half)
            self.credited.append(half)
        if row["PaymentMethod"] == "Mailed check":
            self.late.append(self.january[-1])
        renewed = price
        changes = self._changes(row)
        until_change, until_end = self._used(number, row, changes)
        if changes is not None:
            moved = cents(Fraction("42.30") * LEFT_OF_JANUARY) - cents(Fraction(price) * LEFT_OF_JANUARY)
            renewed = Decimal("42.30")
            if changes == "at once":
                self.changes.append(billed(moved + until_change))
            else:
                renewed += moved
        if row["Churn"] == "No":
            self.february.append(billed(renewed + until_end))
            if "check" in row["PaymentMethod"]:
                self.owed.append(self.february[-1] - (self.credited[-1] if number == 0 else 0))

    def _changes(self, row: dict[str, str]) -> str | None:
        if row["Churn"] == "Yes" or (row["Contract"], row["PaymentMethod"]) != (
            "Month-to-month",
            "Bank transfer (automatic)",
        ):
            return None
        if self.changed >= 2 and (self.changed == 20 or Decimal(row["MonthlyCharges"]) >= Decimal("42.30")):
            return None
        self.changed += 1
        assert self.changed > 2 or row["customerID"] == ("6865-JZNKO", "7310-EGVHZ")[self.changed - 1]
        return "with the next" if self.changed == 1 else "at once"

    def _used(self, number: int, row: dict[str, str], changes: str | None) -> tuple[Decimal, Decimal]:
        """What is billed of usage with a changed contract, and in February."""
        if self.usage is None or row["Churn"] == "Yes" or (changes is None and number % 5):
            return Decimal(0), Decimal(0)
        self.metered += 1
        at_once = changes == "at once"
        used = Used.of(self.customers[number], self.usage, some_late=at_once)
        if changes is None:
            return Decimal(0), rated(used.first + used.second)
        if not at_once:
            return Decimal(0), rated(used.first, used.second)
        self.late_lines += used.late_lines
        return rated(used.known), rated(used.first, used.second) - rated(used.known)

    def _taxed(self, country: str, treatment: str, net: Decimal, tax: Decimal) -> None:
        before = self.taxes.get((country, treatment), (Decimal(0), Decimal(0)))
        self.taxes[country, treatment] = before[0] + net, before[1] + tax


@pytest.mark.parametrize("events", [None, 200_000])
def test_the_month_comes_to_what_another_reading_of_the_file_says(events: int | None) -> None:
    customers = read_customers()
    usage = None if events is None else Usage.of(customers, events)
    used = None if usage is None else expected_usage(customers, usage)
    month, read = expected_month(customers, used), Reading.of_the_file(usage)
    if usage is not None and used is not None:
        assert (sum(bool(row.services) for row in customers), used.late_lines) == (read.metered, read.late_lines)
    for expected, invoices in (
        (month.january, read.january),
        (month.changes, read.changes),
        (month.february, read.february),
    ):
        assert (expected.invoices, Decimal(expected.amount) / 100) == (len(invoices), sum(invoices))
    assert Decimal(-month.credit_notes.amount) / 100 == sum(read.credited)
    taxes = {place: (Decimal(net) / 100, Decimal(tax) / 100) for place, (net, tax) in month.taxes.items()}
    assert taxes == read.taxes
    assert {treatment for _, treatment in taxes} == {"taxed", "exempt", "reverse_charge"}
    late, owed = (int(100 * sum(each)) for each in (read.late, read.owed))
    assert month.ages_on == {
        "2026-01-15": {"current": late},
        "2026-01-31": {"current": late},
        "2026-02-01": {"current": owed, "days_1_30": late},
    }


def test_so_many_events_are_sent_again_are_in_conflict_come_late_or_are_taken_back() -> None:
    customers = read_customers()
    metered = [row for row in customers if row.services]
    usage = Usage.of(customers, 300_000)
    each = usage.each
    used = expected_usage(customers, usage)
    assert abs(len(metered) * each - 300_000) < len(metered)
    assert used.duplicates == len(metered) * len(range(7, each, 50))
    assert used.conflicts == len(metered) * len(range(11, each, 500))
    assert used.late == sum(row.billed_at_change for row in metered) * len(range(0, each // 2, 10)) > 0
    assert used.sent == len(metered) * each + used.duplicates + used.conflicts
    assert used.counts == len(metered) * each - used.voided
    assert used.voided == sum(row.mistake == "voided" for row in metered) > 100
    assert used.corrected == sum(row.mistake == "corrected" for row in metered) > 100


def test_usage_is_the_same_in_every_run() -> None:
    row = read_customers(limit=1)[0]
    assert list(Usage(40).events(row, 0))[:2] == [
        (0, ("7590-VHVEG/0", "gigabytes", 25_858, 317)),
        (1, ("7590-VHVEG/1", "gigabytes", 1_294_214, 1_966)),
    ]
    assert {event.meter for _, event in Usage(40).events(row, 1)} == {"gigabytes"}


def test_a_plain_month_comes_to_the_sums_of_the_file() -> None:
    month = expected_month(read_customers(plain=True))
    assert (month.january.invoices, month.january.amount) == (7043, 45_611_660)
    assert (month.february.invoices, month.february.amount) == (5174, 31_698_575)
    assert (month.changes.invoices, month.credit_notes.amount, month.taxes) == (0, 0, {})


def test_only_the_automatic_payment_methods_have_a_token() -> None:
    customers = read_customers()
    assert sum(customer.method == "card" for customer in customers) == 1522
    assert sum(customer.method == "bank_account" for customer in customers) == 1544
    assert all((customer.token is None) == (customer.method is None) for customer in customers)


@pytest.mark.parametrize("customers", [60])
def test_a_small_month_adds_up_on_real_parts(services_folder: Path, customers: int) -> None:
    environment = {
        **os.environ,
        "TALLYBOOK_DATA_DIR": str(services_folder / "demo"),
        "TALLYBOOK_API_PORT": str(free_port()),
        "TALLYBOOK_GATEWAY_PORT": str(free_port()),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "cli.main", "demo", "--customers", str(customers), "--no-stay"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    assert run.returncode == 0, run.stdout[-4_000:] + run.stderr[-4_000:]
    rows = read_customers(limit=customers)
    used = expected_usage(rows, Usage.of(rows, None))
    month = expected_month(rows, used)
    for what, many in (
        ("sent", used.sent),
        ("accepted", used.sent),
        ("duplicates dropped", used.duplicates),
        ("conflicts, of which the first counts", used.conflicts),
        ("voided", used.voided),
        ("corrected", used.corrected),
        ("counted in the end", used.counts),
        ("of them late for their period", used.late),
        ("lines of late usage", used.late_lines),
    ):
        assert many > 0
        assert re.search(rf"│ {what} +│ +{many:,} +│", run.stdout), f"{many:,} {what}:\n{run.stdout}"
    for expected in (
        month.january.amount,
        month.changes.amount,
        -month.credit_notes.amount,
        month.february.amount,
        month.unpaid_of_january,
        month.unpaid_of_february,
    ):
        assert expected > 0
        assert f"{expected // 100:,}.{expected % 100:02d} USD" in run.stdout
    assert "Differences over all invariants: 0" in run.stdout
    behind = dict(re.findall(r"│ (relay|projections?[- ][^│]*?) +│ ok +│ ([0-9]+) +│", run.stdout))
    assert set(behind) >= {"relay", "projection billing", "projections-0: projections.billing"}
    assert set(behind.values()) == {"0"}, "what is measured now and what a heartbeat said before say the same"
