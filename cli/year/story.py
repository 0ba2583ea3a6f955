"""The telecom year: who joins, changes, pauses, pays late and leaves, and when; nothing of what that costs.

One row of the CSV is one customer. Contract: by the month, or a year at the price of ten months (two-year contracts).
MonthlyCharges: the price, in minor units of the customer's currency. MultipleLines: two lines at that price each.
tenure: who stays and is with us for less than a year joins so many months before its end, everybody else in January.
Churn=Yes: leaves in the month that tenure says, at once and with credit (PaperlessBilling=Yes) or with the period.
DeviceProtection: begins with a trial. SeniorCitizen, Partner, Dependents: a coupon each. PaymentMethod: charged, or
paid by hand, whole or in parts. What no column says goes by turns, so that few customers are enough to have it all.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Final

from cli.telecom_customers import CSV_FILE

YEAR: Final = 2026
MONTHS: Final = 12

PAYS_ON: Final = 6
"""Day of the month on which electronic checks arrive."""
CHANGES_ON: Final = 12
LEAVES_ON: Final = 20
SETTLES_ON: Final = 26
"""Day on which mailed checks bring what is left, and declined cards are tried again."""


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
EXEMPT_EVERY: Final = 18
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
    """At once, with credit for what is unused; or with the period."""

    on: date
    at_once: bool


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


Act = Change | Cancel | Pause | Resume | Credit | Pay | TryAgain | WriteOff


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


def read_people(limit: int | None = None) -> list[Person]:
    """The first so many customers of the CSV, with their year."""
    turns: Counter[str] = Counter()
    with CSV_FILE.open(encoding="utf-8", newline="") as lines:
        return [_person(nth, row, turns) for nth, row in enumerate(islice(csv.DictReader(lines), limit))]


def _person(nth: int, row: dict[str, str], turns: Counter[str]) -> Person:
    tenure = int(row["tenure"])
    stays = row["Churn"] == "No"
    method, token, declines_at = _paid_by(row["PaymentMethod"], turns)
    place = PLACES[nth % len(PLACES)]
    business = place.country == "FR" and nth % EXEMPT_EVERY == PLACES.index(place)
    person = Person(
        external_id=row["customerID"],
        place=place,
        is_exempt=place.country == "DE" and nth % EXEMPT_EVERY == PLACES.index(place),
        vat_id=VAT_ID if business else None,
        method=method,
        token=token,
        declines_at=declines_at,
        joins=day(MONTHS + 1 - max(tenure, 1) if stays and tenure < MONTHS else 1, 1),
        trial_days=_trial(row),
        offers=_offers(row),
        terms=_terms(row),
    )
    life = _life(person, turns) if stays else _leaving(person, tenure, at_once=row["PaperlessBilling"] == "Yes")
    acts = [*life, *_credits(person, life, turns), *_payments(person, row["PaymentMethod"], turns)]
    return replace(person, acts=tuple(sorted(acts, key=lambda act: act.on)))


def _paid_by(method: str, turns: Counter[str]) -> tuple[str | None, str | None, int | None]:
    """The type, the token, and which charge of it is declined: of every ten cards the first or the second one."""
    if method == "Bank transfer (automatic)":
        return "bank_account", "tok_us_bank_account", None
    if method != "Credit card (automatic)":
        return None, None, None
    turn = turns["card"] % 10
    turns["card"] += 1
    if turn == 0:
        return "card", "tok_decline_insufficient_funds_then_succeed", 1
    if turn == 3:
        return "card", "tok_visa_then_decline_insufficient_funds_then_visa", 2
    return "card", "tok_visa", None


def _trial(row: dict[str, str]) -> int:
    """Days. Thirty of them from January on make the thirty-first a customer's billing day."""
    if row["DeviceProtection"] != "Yes" or row["Contract"] != "Month-to-month":
        return 0
    return 30 if row["InternetService"] == "Fiber optic" else 14


def _offers(row: dict[str, str]) -> tuple[Offer, ...]:
    has = {SENIOR: row["SeniorCitizen"] == "1", FAMILY: row["Dependents"] == "Yes", PARTNER: row["Partner"] == "Yes"}
    return tuple(offer for offer in OFFERS if has[offer])


def _terms(row: dict[str, str]) -> Terms:
    monthly = int(Decimal(row["MonthlyCharges"]) * 100)
    lines = 2 if row["MultipleLines"] == "Yes" else None
    if row["Contract"] == "Two year":
        return yearly(monthly, lines)
    return Terms(plan=row["Contract"], months=1, amount=monthly, lines=lines)


def yearly(monthly: int, lines: int | None) -> Terms:
    """A year for the price of ten months."""
    return Terms(plan="Two year", months=12, amount=10 * monthly, lines=lines)


def _life(person: Person, turns: Counter[str]) -> list[Act]:
    """What becomes of somebody who stays, by turns; who joins late has too little time for anything."""
    first = max(3, person.joins.month + 2)
    if first > MONTHS:
        return []
    lives = MONTHLY_LIVES if person.terms.months == 1 else YEARLY_LIVES
    turn = f"life of {person.terms.months}"
    life = lives[turns[turn] % len(lives)]
    turns[turn] += 1
    return [act for act in life(person.terms, first) if act.on.year == YEAR]


def _leaving(person: Person, tenure: int, *, at_once: bool) -> list[Act]:
    """In the month of their tenure; who has time for it takes a better contract before that."""
    month = 1 + (tenure - 1) % MONTHS
    better: list[Act] = [Change(on=day(month - 1, CHANGES_ON), terms=_dearer(person.terms))] if month > 3 else []
    return [*better, Cancel(on=day(month, LEAVES_ON), at_once=at_once)]


def _dearer(terms: Terms) -> Terms:
    return replace(terms, plan=f"{terms.plan} plus", amount=terms.amount + 1_505)


def _cheaper(terms: Terms) -> Terms:
    return replace(terms, plan=f"{terms.plan} light", amount=terms.amount // 2)


def _upgraded(terms: Terms, month: int) -> list[Act]:
    return [Change(on=day(month, CHANGES_ON), terms=_dearer(terms))]


def _upgraded_on_the_next_invoice(terms: Terms, month: int) -> list[Act]:
    return [Change(on=day(month, CHANGES_ON), terms=_dearer(terms), proration="next_invoice")]


def _downgraded(terms: Terms, month: int) -> list[Act]:
    return [Change(on=day(month, CHANGES_ON), terms=_cheaper(terms))]


def _more_and_fewer_lines(terms: Terms, month: int) -> list[Act]:
    """By the line from the first change on."""
    many = replace(terms, lines=3) if terms.lines else replace(_dearer(terms), lines=3)
    fewer = Change(on=_later(month, 2, CHANGES_ON), terms=replace(many, lines=2), proration="next_invoice")
    return [Change(on=day(month, CHANGES_ON), terms=many), fewer]


def _paused(terms: Terms, month: int) -> list[Act]:
    del terms
    return [Pause(on=day(month, CHANGES_ON), credited=False), Resume(on=_later(month, 2, LEAVES_ON))]


def _paused_with_credit(terms: Terms, month: int) -> list[Act]:
    """Once within a period, and once for longer."""
    del terms
    return [
        Pause(on=day(month, CHANGES_ON), credited=True),
        Resume(on=day(month, LEAVES_ON)),
        Pause(on=_later(month, 2, CHANGES_ON), credited=True),
        Resume(on=_later(month, 4, LEAVES_ON)),
    ]


def _up_and_down(terms: Terms, month: int) -> list[Act]:
    """Twice within a period, too: what was charged for the rest is given back in turn."""
    return [
        Change(on=day(month, CHANGES_ON), terms=_dearer(terms)),
        Change(on=day(month, LEAVES_ON), terms=_cheaper(terms)),
        Change(on=_later(month, 3, CHANGES_ON), terms=terms, proration="next_invoice"),
    ]


def _by_the_year(terms: Terms, month: int) -> list[Act]:
    return [Change(on=day(month, CHANGES_ON), terms=yearly(terms.amount, terms.lines), begins_anew=True)]


def _dearer_from_the_next_period(terms: Terms, month: int) -> list[Act]:
    """The price itself is raised."""
    raised = replace(terms, amount=terms.amount + 200)
    return [Change(on=day(month, LEAVES_ON), terms=raised, proration="period_end")]


def _changed_on_a_date(terms: Terms, month: int) -> list[Act]:
    on = day(month, CHANGES_ON)
    return [Change(on=on, terms=_dearer(terms), effective_on=_later(month, 1, LEAVES_ON))]


Life = Callable[[Terms, int], list[Act]]
MONTHLY_LIVES: Final[tuple[Life, ...]] = (
    _upgraded,
    _paused,
    _downgraded,
    _up_and_down,
    _paused_with_credit,
    _more_and_fewer_lines,
    _by_the_year,
    _upgraded_on_the_next_invoice,
    _dearer_from_the_next_period,
    _changed_on_a_date,
)
YEARLY_LIVES: Final[tuple[Life, ...]] = (_upgraded, _more_and_fewer_lines, _paused_with_credit, _downgraded)


def _later(month: int, months: int, number: int) -> date:
    """A day some months later. What is not of the year any more does not happen in it."""
    return date(YEAR + (month + months > MONTHS), (month + months - 1) % MONTHS + 1, number)


def _credits(person: Person, life: Sequence[Act], turns: Counter[str]) -> list[Act]:
    """Parts of February's invoices, through the gateway where that was paid so; and whole ones in September."""
    if person.joins.month > 1 or person.trial_days or any(isinstance(act, Cancel) for act in life):
        return []
    turns["credit"] += 1
    found: list[Act] = []
    if turns["credit"] % 2:
        part = Fraction(1, 2) if person.token else Fraction(1, 3)
        found.append(Credit(on=day(2, CHANGES_ON), part=part, refund=person.token is not None))
    elif person.terms.months == 1 and not any(_is_seen_in_september(act) for act in life):
        found.append(Credit(on=day(9, CHANGES_ON), part=Fraction(1)))
    return found


def _is_seen_in_september(act: Act) -> bool:
    """Whether the newest invoice then may bill more than a period."""
    return act.on.month in range(6, 10) or (isinstance(act, Change) and act.begins_anew)


def _payments(person: Person, method: str, turns: Counter[str]) -> Iterable[Act]:
    """Cards that were declined once are tried again at the month's end. Electronic checks pay all, every second one
    too much in March. Mailed ones pay in two parts, and every third writer stops in June.
    """
    months = range(person.joins.month, MONTHS + 1)
    if person.token is not None:
        return [TryAgain(on=day(month, SETTLES_ON)) for month in months] if person.declines_at else []
    turns[method] += 1
    if method == "Electronic check":
        round_up = turns[method] % 2 == 0
        return [Pay(on=day(month, PAYS_ON), notes=1_000 if round_up and month == 3 else 1) for month in months]
    defaults = turns[method] % 3 == 0
    paid = [month for month in months if month < 6 or not defaults]
    halves = [Pay(on=day(month, CHANGES_ON), part=Fraction(1, 2)) for month in paid]
    rest = [Pay(on=day(month, SETTLES_ON)) for month in paid]
    given_up = [WriteOff(on=day(12, CHANGES_ON), before=day(10, 1))] if defaults else []
    return [*halves, *rest, *given_up]
