"""The telecom sample's customers, as the month bills them: one row of the CSV is one customer with one subscription."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

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
CREDITED_ROW: Final = 0
"""Has paid by electronic check: what is given back is their balance."""
VAT_ID: Final = "FR11123456782"
WELCOME_CONTRACT: Final = "Two year"
WELCOME_PERCENT: Final = 20
CHANGED_CONTRACT: Final = "One year"
CHANGED_MONTHLY: Final = 4230
"""What the fourth row pays for its contract: so much is on offer."""
PRORATIONS: Final = ("next_invoice", "invoice_now")
"""The first who pay month to month by bank account and stay change their contract: when it is billed, one by one."""
CHANGES_MAX: Final = 20
"""Those who follow change, too, where the contract costs more than what they had: billed at once."""

MINUTES: Final = "minutes"
GIGABYTES: Final = "gigabytes"
MESSAGES: Final = "messages"
METERED_EVERY: Final = 5
"""Every so many rows one has a tariff that counts what its services are used for, if they stay; who changes has it."""
MISTAKEN_EVERY: Final = 8
"""Every so many of those an event is taken back, and of another one corrected."""

_SUCCEEDS: Final = {"bank_account": "tok_us_bank_account", "card": "tok_visa"}
_DECLINES_FIRST: Final = "tok_decline_insufficient_funds_then_succeed"
_DECLINES_SECOND: Final = "tok_visa_then_decline_insufficient_funds_then_visa"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChange:
    """To another contract at another price, in minor units; `proration` is when the change is billed."""

    contract: str
    monthly: int
    proration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TelecomCustomer:
    """`monthly` is in minor units. `token` is None for the customers who get an invoice to pay by hand. `country` is
    where they are taxed, None where nothing is taxed at all; a `vat_id` is of a business. `welcome`: the coupon is
    theirs, once. `changes` is to what they change in the middle of the month. `credited`: half of their first invoice
    is given back. `services` are the meters that count what they use, none without such a tariff; `mistake`: what
    becomes of one of their events that was none.
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
    welcome: bool = False
    changes: ContractChange | None = None
    credited: bool = False
    services: tuple[str, ...] = ()
    mistake: Literal["voided", "corrected"] | None = None

    @property
    def billed_at_change(self) -> bool:
        """Whether an invoice bills what was used until the contract changes; else the next one does."""
        return self.changes is not None and self.changes.proration == "invoice_now"


@dataclass(slots=True, kw_only=True)
class Account:
    """A customer as the API knows it."""

    row: TelecomCustomer
    customer: str
    subscription: str
    first_invoice: str


def read_customers(file: Path = CSV_FILE, *, limit: int | None = None, plain: bool = False) -> list[TelecomCustomer]:
    """The sample's customers in its order. Every so many cards decline once, in the first or in the second cycle.

    They live in three countries in turn; one is exempt, and one a business to whom the charge is reversed. Nobody is
    taxed where it is `plain`, has a coupon, changes anything, is credited or has usage counted.
    """
    customers: list[TelecomCustomer] = []
    cards = changed = metered = 0
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
            stays = row["Churn"] == "No"
            changes: ContractChange | None = None
            monthly = int(Decimal(row["MonthlyCharges"]) * 100)
            if method == "bank_account" and row["Contract"] == "Month-to-month" and stays:
                changes = _change(changed, monthly)
                changed += changes is not None
            services: tuple[str, ...] = ()
            mistake = None
            if not plain and stays and (nth % METERED_EVERY == 0 or changes is not None):
                services = _services(row)
                mistake = _mistake(metered, changes)
                metered += 1
            customers.append(
                TelecomCustomer(
                    external_id=row["customerID"],
                    contract=row["Contract"],
                    monthly=monthly,
                    pays_at_once=row["PaymentMethod"] == PAID_BY_HAND_AT_ONCE,
                    leaves=not stays,
                    method=method,
                    token=token,
                    country=None if plain else list(TAX_PERCENT)[nth % len(TAX_PERCENT)],
                    tax_exempt=not plain and nth == TAX_EXEMPT_ROW,
                    vat_id=VAT_ID if not plain and nth == REVERSE_CHARGE_ROW else None,
                    welcome=not plain and row["Contract"] == WELCOME_CONTRACT,
                    changes=None if plain else changes,
                    credited=not plain and nth == CREDITED_ROW,
                    services=services,
                    mistake=mistake,
                )
            )
    return customers


def _change(nth: int, monthly: int) -> ContractChange | None:
    if nth >= len(PRORATIONS) and not (nth < CHANGES_MAX and monthly < CHANGED_MONTHLY):
        return None
    proration = PRORATIONS[nth] if nth < len(PRORATIONS) else "invoice_now"
    return ContractChange(contract=CHANGED_CONTRACT, monthly=CHANGED_MONTHLY, proration=proration)


def _services(row: Mapping[str, str]) -> tuple[str, ...]:
    by_telephone = (MINUTES, MESSAGES) if row["PhoneService"] == "Yes" else ()
    return (*by_telephone, *((GIGABYTES,) if row["InternetService"] != "No" else ()))


def _mistake(nth: int, changes: ContractChange | None) -> Literal["voided", "corrected"] | None:
    """Who changes has none that is taken back: what was billed of it would be a credit."""
    if changes is not None or nth % MISTAKEN_EVERY == 1:
        return "corrected"
    return "voided" if nth % MISTAKEN_EVERY == 2 else None
