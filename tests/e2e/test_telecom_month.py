"""The telecom month: what it must come to, computed from the CSV alone, and a small run of it on real parts."""

import csv
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from cli.demo import expected_cycles
from cli.telecom_customers import CSV_FILE, read_customers
from host.embedded.process import free_port

RUN_LIMIT_S = 240


def charges(*, without_leavers: bool) -> Decimal:
    """The sum of MonthlyCharges, by a reading of the file that shares nothing with the demo's."""
    with CSV_FILE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return sum(
        (Decimal(row["MonthlyCharges"]) for row in rows if not (without_leavers and row["Churn"] == "Yes")), Decimal(0)
    )


def test_the_first_cycle_invoices_every_customer() -> None:
    first, _ = expected_cycles(read_customers())
    assert (first.invoices, Decimal(first.amount) / 100) == (7043, Decimal("456116.60"))
    assert Decimal(first.amount) / 100 == charges(without_leavers=False)


def test_the_second_cycle_invoices_those_who_stay() -> None:
    _, second = expected_cycles(read_customers())
    assert (second.invoices, Decimal(second.amount) / 100) == (5174, Decimal("316985.75"))
    assert Decimal(second.amount) / 100 == charges(without_leavers=True)


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
