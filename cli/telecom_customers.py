"""The telecom sample's customers, as the month bills them: one row of the CSV is one customer with one subscription."""

import csv
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

CSV_FILE: Final = Path(__file__).parent.parent / "examples" / "telco" / "telco_customers.csv"
CURRENCY: Final = "USD"
AUTOMATIC: Final = {"Bank transfer (automatic)": "bank_account", "Credit card (automatic)": "card"}
PAID_BY_HAND_AT_ONCE: Final = "Electronic check"
DECLINES_EVERY: Final = 40

SELLER_COUNTRY: Final = "IE"
TAX_PERCENT: Final = {"IE": 23, "DE": 19, "FR": 20}
"""Where the month's customers live, in turn, and what tax they pay there."""
TAX_EXEMPT_ROW: Final = 1
REVERSE_CHARGE_ROW: Final = 2
VAT_ID: Final = "FR11123456782"

_SUCCEEDS: Final = {"bank_account": "tok_us_bank_account", "card": "tok_visa"}
_DECLINES_FIRST: Final = "tok_decline_insufficient_funds_then_succeed"
_DECLINES_SECOND: Final = "tok_visa_then_decline_insufficient_funds_then_visa"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelecomCustomer:
    """`monthly` is in minor units. `token` is None for the customers who get an invoice to pay by hand. `country` is
    where they are taxed, None where nothing is taxed at all; a `vat_id` is of a business.
    """

    external_id: str
    contract: str
    monthly: int
    pays_at_once: bool
    leaves: bool
    method: str | None
    token: str | None
    country: str | None = None
    tax_exempt: bool = False
    vat_id: str | None = None


def read_customers(file: Path = CSV_FILE, *, limit: int | None = None, taxed: bool = True) -> list[TelecomCustomer]:
    """The sample's customers in its order. Every so many cards decline once, in the first or in the second cycle.

    `taxed`: they live in three countries in turn; one is exempt, and one a business to whom the charge is reversed.
    """
    customers: list[TelecomCustomer] = []
    cards = 0
    with file.open(encoding="utf-8", newline="") as lines:
        for nth, row in enumerate(csv.DictReader(lines)):
            if limit is not None and len(customers) >= limit:
                break
            method = AUTOMATIC.get(row["PaymentMethod"])
            token = None if method is None else _SUCCEEDS[method]
            if method == "card":
                turn = cards % DECLINES_EVERY
                token = _DECLINES_FIRST if turn == 0 else _DECLINES_SECOND if turn == DECLINES_EVERY // 2 else token
                cards += 1
            customers.append(
                TelecomCustomer(
                    external_id=row["customerID"],
                    contract=row["Contract"],
                    monthly=int(Decimal(row["MonthlyCharges"]) * 100),
                    pays_at_once=row["PaymentMethod"] == PAID_BY_HAND_AT_ONCE,
                    leaves=row["Churn"] == "Yes",
                    method=method,
                    token=token,
                    country=list(TAX_PERCENT)[nth % len(TAX_PERCENT)] if taxed else None,
                    tax_exempt=taxed and nth == TAX_EXEMPT_ROW,
                    vat_id=VAT_ID if taxed and nth == REVERSE_CHARGE_ROW else None,
                )
            )
    return customers
