"""The telecom month: what it must come to, computed from the CSV alone, and a small run of it on real parts."""

import csv
import os
import re
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from cli.telecom_customers import CSV_FILE, read_customers
from cli.telecom_expected import expected_cycles, sum_of_taxes
from host.embedded.process import free_port

RUN_LIMIT_S = 240


Taxes = dict[tuple[str, str], tuple[Decimal, Decimal]]


def invoiced(*, without_leavers: bool) -> tuple[int, Decimal, Taxes]:
    """Invoices, their sum with tax, and net and tax by country and treatment, by a reading of the file that shares
    nothing with the demo's.
    """
    with CSV_FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    taxes: Taxes = {}
    for number, row in enumerate(rows):
        if without_leavers and row["Churn"] == "Yes":
            continue
        country, percent = (("IE", "23"), ("DE", "19"), ("FR", "20"))[number % 3]
        treatment = {1: "exempt", 2: "reverse_charge"}.get(number, "taxed")
        net = Decimal(row["MonthlyCharges"])
        tax = net * Decimal(percent) / 100 if treatment == "taxed" else Decimal(0)
        before = taxes.get((country, treatment), (Decimal(0), Decimal(0)))
        cents = tax.quantize(Decimal("0.01"), ROUND_HALF_UP)
        taxes[country, treatment] = before[0] + net, before[1] + cents
    count = sum(not (without_leavers and row["Churn"] == "Yes") for row in rows)
    return count, sum((net + tax for net, tax in taxes.values()), Decimal(0)), taxes


def test_the_first_cycle_invoices_every_customer() -> None:
    first, _ = expected_cycles(read_customers())
    count, amount, _ = invoiced(without_leavers=False)
    assert (first.invoices, Decimal(first.amount) / 100) == (count, amount)
    untaxed, _ = expected_cycles(read_customers(taxed=False))
    assert (untaxed.invoices, Decimal(untaxed.amount) / 100) == (7043, Decimal("456116.60"))


def test_the_second_cycle_invoices_those_who_stay() -> None:
    _, second = expected_cycles(read_customers())
    count, amount, _ = invoiced(without_leavers=True)
    assert (second.invoices, Decimal(second.amount) / 100) == (count, amount)
    _, untaxed = expected_cycles(read_customers(taxed=False))
    assert (untaxed.invoices, Decimal(untaxed.amount) / 100) == (5174, Decimal("316985.75"))


def test_taxes_are_by_country_and_treatment() -> None:
    found = sum_of_taxes(expected_cycles(read_customers()))
    expected: Taxes = {}
    for without_leavers in (False, True):
        for place, (net, tax) in invoiced(without_leavers=without_leavers)[2].items():
            before = expected.get(place, (Decimal(0), Decimal(0)))
            expected[place] = before[0] + net, before[1] + tax
    assert {place: (Decimal(net) / 100, Decimal(tax) / 100) for place, (net, tax) in found.items()} == expected
    assert {treatment for _, treatment in found} == {"taxed", "exempt", "reverse_charge"}


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
    first, second = expected_cycles(read_customers(limit=customers))
    for expected in (first, second):
        assert f"{expected.amount // 100:,}.{expected.amount % 100:02d} USD" in run.stdout
    assert "Differences over all invariants: 0" in run.stdout
    behind = dict(re.findall(r"│ (relay|projections?[- ][^│]*?) +│ ok +│ ([0-9]+) +│", run.stdout))
    assert set(behind) >= {"relay", "projection billing", "projections-0: projections.billing"}
    assert set(behind.values()) == {"0"}, "what is measured now and what a heartbeat said before say the same"
