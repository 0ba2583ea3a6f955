"""The proof of thresholds under faults finds what is told twice, missed, or billed otherwise."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cli.faults.threshold_proof import billed_otherwise, told_otherwise
from domain.entitlements.triggered_alert import UsageAlertTriggered
from domain.invoicing.state import Invoice
from domain.kernel.frozen import replace
from domain.kernel.identifiers import INVOICE, derived_id
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.pricing import volume
from testing.examples.streams import SUBSCRIPTION_ID, create_customer, plan_on_sale, subscribe, usd
from testing.examples.subscriptions import FEBRUARY, period_invoice, renew
from testing.examples.usage import METER_ID, USAGE_PRICE_ID, bill, create_meter, invoice_of, usage_price
from testing.specification import NOW, given

EVER, CUSTOMER = "alrt_ever", "cus_1"
DAY = timedelta(days=1)


def told(threshold: int, used: int = 1_000) -> UsageAlertTriggered:
    return UsageAlertTriggered(
        trigger_id="trig_1", usage_alert_id=EVER, customer_id=CUSTOMER, meter_id=METER_ID, feature=None,
        period_start=None, period_end=None, since=None, threshold=Decimal(threshold), percent=None, limit=None,
        used=Decimal(used), triggered_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("thresholds", "calls", "named"),
    [
        ([], 39, []),
        ([40, 150], 299, []),
        ([40, 150, 300, 700], 710, []),
        ([40, 40], 41, ["40 was told of 2 times"]),
        ([150], 160, ["160 calls were made, and [Decimal('40')] not told of"]),
        ([40, 150, 300, 500], 710, ["710 calls were made, and [Decimal('700')] not told of"]),
    ],
)
def test_alerts_that_are_told_twice_or_missed_are_found(thresholds: list[int], calls: int, named: list[str]) -> None:
    found = told_otherwise([told(each) for each in thresholds], EVER, {CUSTOMER: calls})
    assert [each.detail for each in found] == named


def test_an_alert_of_what_is_not_reached_is_found() -> None:
    assert [each.detail for each in told_otherwise([told(40, used=39)], EVER, {})] == ["39 is below 40"]


def period() -> list[Invoice]:
    """An invoice of 10 units while their period runs, and one at its end, which gives some of that back."""
    price = usage_price(price=volume((10, 100, 0), (None, 10, 0)))
    told = given(create_customer(), create_meter(), *plan_on_sale(), price)
    told = told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=UsageThreshold(amount=usd(100))))
    so_far = BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID, price_ids=(USAGE_PRICE_ID,), period_index=0, changes=0, billings_so_far=0
    )
    told = told.and_then(so_far, at=NOW + DAY)
    first, last = derived_id(INVOICE, SUBSCRIPTION_ID, "usage/0"), period_invoice(1)
    told = told.and_then(bill(told, first, 10), at=NOW + DAY)
    told = told.and_then(renew(FEBRUARY), at=FEBRUARY)
    told = told.and_then(bill(told, last, 20), at=FEBRUARY)
    return [invoice_of(told, each) for each in (first, last)]


def found(invoices: list[Invoice], *, units: str = "mtr_other", voids: bool = False) -> list[str]:
    return [each.detail for each in billed_otherwise(invoices, units=units, voids=voids)]


def test_invoices_of_a_period_that_come_to_something_else_are_found() -> None:
    first, last = period()
    assert found([first, last]) == []
    (line,) = first.lines
    less = replace(first, lines=(replace(line, amount=usd(999)),))
    assert found([less, last]) == [
        "999 is billed of 1000, and 0 was before",
        "those before it billed 999, and it says 1000",
        "799 was billed too much, and 800 is given back",
    ]
    kept = replace(last, lines=last.lines[:1])
    assert found([first, kept]) == ["800 was billed too much, and 0 is given back"]
    assert found([first, kept], voids=True) == []
    assert found([first, last], units=METER_ID) == [
        "10 units at 1 each are charged at 1000",
        "20 units at 1 each are charged at 200",
    ]
