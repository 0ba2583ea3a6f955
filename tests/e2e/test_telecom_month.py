"""The telecom month: what it must come to, computed from the CSV alone, and a small run of it on real parts."""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from cli.telecom_customers import CSV_FILE, read_customers
from cli.telecom_expected import expected_month
from host.embedded.process import free_port

RUN_LIMIT_S = 240


CENT = Decimal("0.01")
RATES = (("IE", "0.23"), ("DE", "0.19"), ("FR", "0.20"))
LEFT_OF_JANUARY = Fraction(16, 31)

Taxes = dict[tuple[str, str], tuple[Decimal, Decimal]]


def cents(amount: Decimal | Fraction) -> Decimal:
    exact = Fraction(amount)
    return (Decimal(exact.numerator) / exact.denominator).quantize(CENT, ROUND_HALF_UP)


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

    @classmethod
    def of_the_file(cls) -> "Reading":
        read = cls()
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
        if row["customerID"] in ("6865-JZNKO", "7310-EGVHZ"):
            moved = cents(Fraction("42.30") * LEFT_OF_JANUARY) - cents(Fraction(price) * LEFT_OF_JANUARY)
            renewed = Decimal("42.30")
            if row["customerID"] == "7310-EGVHZ":
                self.changes.append(billed(moved))
            else:
                renewed += moved
        if row["Churn"] == "No":
            self.february.append(billed(renewed))
            if "check" in row["PaymentMethod"]:
                self.owed.append(self.february[-1] - (self.credited[-1] if number == 0 else 0))

    def _taxed(self, country: str, treatment: str, net: Decimal, tax: Decimal) -> None:
        before = self.taxes.get((country, treatment), (Decimal(0), Decimal(0)))
        self.taxes[country, treatment] = before[0] + net, before[1] + tax


def test_the_month_comes_to_what_another_reading_of_the_file_says() -> None:
    month, read = expected_month(read_customers()), Reading.of_the_file()
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
    month = expected_month(read_customers(limit=customers))
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
