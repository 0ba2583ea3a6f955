"""What customers of the year are and what they can do: places with taxes, coupons, terms, and acts with their day."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Final

YEAR: Final = 2026
MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class Rate:
    """Per cent of the net amount, as a decimal; from `since` on it replaces what was there of its kind."""

    kind: str
    percent: str
    jurisdiction: str
    since: date


@dataclass(frozen=True, slots=True)
class Place:
    """Where customers live, how they pay, and what tax they bear there; without rates the seller is not registered."""

    country: str
    region: str | None
    currency: str
    rates: tuple[Rate, ...] = ()


NEW_YEAR: Final = date(YEAR, 1, 1)
SELLER_COUNTRY: Final = "IE"
PLACES: Final = (
    Place("IE", None, "EUR", (Rate("vat", "23", "IE", NEW_YEAR),)),
    Place("DE", None, "EUR", (Rate("vat", "19", "DE", NEW_YEAR), Rate("vat", "16", "DE", date(YEAR, 7, 1)))),
    Place("FR", None, "EUR", (Rate("vat", "20", "FR", NEW_YEAR),)),
    Place("CA", "QC", "CAD", (Rate("gst", "5", "CA", NEW_YEAR), Rate("qst", "9.975", "CA-QC", NEW_YEAR))),
    Place("JP", None, "JPY", (Rate("vat", "10", "JP", NEW_YEAR),)),
    Place("US", None, "USD"),
)
"""In turn. Germany lowers its rate in July; Quebec has two taxes; the yen has no decimals."""
CURRENCIES: Final = tuple(dict.fromkeys(place.currency for place in PLACES))
VAT_ID: Final = "FR11123456782"


@dataclass(frozen=True, slots=True)
class Offer:
    """A coupon: `percent` off, or `amount` minor units of the customer's currency. `periods` None: forever."""

    name: str
    percent: int | None = None
    amount: int | None = None
    periods: int | None = None


SENIOR: Final = Offer("Senior", percent=10)
FAMILY: Final = Offer("Family", percent=15, periods=1)
PARTNER: Final = Offer("Partner", amount=500, periods=3)
LOYAL: Final = Offer("Loyal", percent=5)
"""Of all that the customer is billed, from some day on until it is taken away; the others are of a subscription."""
OFFERS: Final = (SENIOR, FAMILY, PARTNER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is subscribed to: so many months at a time, `amount` minor units for a period, or for each of the lines."""

    plan: str
    months: int
    amount: int
    lines: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """To other terms: `invoice_now`, `next_invoice` or `period_end`; on that day, or scheduled for a later one."""

    on: date
    terms: Terms
    proration: str = "invoice_now"
    begins_anew: bool = False
    effective_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """At once, or on a later day, both with credit for what is unused; or with the period."""

    on: date
    at_once: bool = False
    ends_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StayAfterAll:
    """The end that was to come with the period is taken back."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    on: date
    credited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """A credit note for so much of what the newest invoice came to, rounded down; of 1: for the whole of it."""

    on: date
    part: Fraction
    refund: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidCredit:
    """The newest credit note is taken back."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidInvoice:
    """The newest invoice is taken back; nothing, if it is not open or something is paid of it."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """So much waits for the next invoice, beside what that bills anyway."""

    on: date
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """A coupon, of everything that the customer is billed from then on."""

    on: date
    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardEnds:
    """It is taken away."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """What was paid by hand for the newest invoice had not come; nothing, if it was not."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay:
    """By hand: so much of what is due on each open invoice, rounded down; or rounded up to whole `notes`."""

    on: date
    part: Fraction = Fraction(1)
    notes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """What was declined is charged once more."""

    on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOff:
    """Open invoices from before that day are given up."""

    on: date
    before: date


Act = (
    Change
    | Cancel
    | StayAfterAll
    | Pause
    | Resume
    | Credit
    | VoidCredit
    | VoidInvoice
    | Fee
    | Reward
    | RewardEnds
    | Pay
    | Bounce
    | TryAgain
    | WriteOff
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A customer of the year. `declines_at`: which of their charges is declined, from 1. `acts`: in order of time."""

    external_id: str
    place: Place
    is_exempt: bool
    vat_id: str | None
    method: str | None
    token: str | None
    declines_at: int | None
    joins: date
    trial_days: int
    offers: tuple[Offer, ...]
    terms: Terms
    acts: tuple[Act, ...] = ()


def day(month: int, number: int) -> date:
    """A day of the year."""
    return date(YEAR, month, number)
