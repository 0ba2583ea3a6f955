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
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Final

from cli.telecom_customers import CSV_FILE
from cli.year.acts import (
    FAMILY,
    LOYAL,
    MONTHS,
    OFFERS,
    PARTNER,
    PLACES,
    SENIOR,
    VAT_ID,
    YEAR,
    Act,
    Bounce,
    Cancel,
    Change,
    Credit,
    Fee,
    Offer,
    Pause,
    Pay,
    Person,
    Resume,
    Reward,
    RewardEnds,
    StayAfterAll,
    Terms,
    TryAgain,
    VoidCredit,
    VoidInvoice,
    WriteOff,
    day,
)

PAYS_ON: Final = 6
"""Day of the month on which electronic checks arrive."""
CHANGES_ON: Final = 12
LEAVES_ON: Final = 20
SETTLES_ON: Final = 26
"""Day on which mailed checks bring what is left, and declined cards are tried again."""
EXEMPT_EVERY: Final = 18
FEE: Final = 1_990


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
    life = _life(person, turns) if stays else _leaving(person, tenure, turns, at_once=row["PaperlessBilling"] == "Yes")
    more = [*_credits(person, life, turns), *_extras(person, life, turns)]
    acts = [*life, *more, *_payments(person, row["PaymentMethod"], life, turns)]
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


def _leaving(person: Person, tenure: int, turns: Counter[str], *, at_once: bool) -> list[Act]:
    """In the month of their tenure; who has time for it takes a better contract before that. Of those who do not leave
    at once every second one names a day of the next month.
    """
    month = 1 + (tenure - 1) % MONTHS
    better: list[Act] = [Change(on=day(month - 1, CHANGES_ON), terms=_dearer(person.terms))] if month > 3 else []
    on = day(month, LEAVES_ON)
    if at_once:
        return [*better, Cancel(on=on, at_once=True)]
    turns["leaves later"] += 1
    names_a_day = turns["leaves later"] % 2 == 0
    return [*better, Cancel(on=on, ends_on=_later(month, 1, PAYS_ON) if names_a_day else None)]


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


def _twice_on_the_next_invoice(terms: Terms, month: int) -> list[Act]:
    """What waits to be billed is given back in part before it is."""
    return [
        Change(on=day(month, CHANGES_ON), terms=_dearer(terms), proration="next_invoice"),
        Change(on=day(month, LEAVES_ON), terms=_cheaper(terms), proration="next_invoice"),
    ]


def _almost_gone(terms: Terms, month: int) -> list[Act]:
    del terms
    return [Cancel(on=day(month, LEAVES_ON)), StayAfterAll(on=day(month, SETTLES_ON))]


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
    _twice_on_the_next_invoice,
    _almost_gone,
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
        if person.token is None and turns["credit"] % 4 == 1:
            found.append(VoidCredit(on=day(2, LEAVES_ON)))
    elif person.terms.months == 1 and not any(_is_seen_in_september(act) for act in life):
        found.append(Credit(on=day(9, CHANGES_ON), part=Fraction(1)))
    return found


def _is_seen_in_september(act: Act) -> bool:
    """Whether the newest invoice then may bill more than a period."""
    return act.on.month in range(6, 10) or (isinstance(act, Change) and act.begins_anew)


def _extras(person: Person, life: Sequence[Act], turns: Counter[str]) -> list[Act]:
    """A fee in May for every third of those who are there, and for every fourth a reward until October."""
    if person.joins.month > 4 or any(isinstance(act, Cancel) for act in life):
        return []
    turns["extra"] += 1
    fee: list[Act] = [Fee(on=day(5, CHANGES_ON), amount=FEE)] if turns["extra"] % 3 == 1 else []
    rewards: list[Act] = [Reward(on=day(6, LEAVES_ON), offer=LOYAL), RewardEnds(on=day(10, LEAVES_ON))]
    return [*fee, *(rewards if turns["extra"] % 4 == 2 else [])]


def _payments(person: Person, method: str, life: Sequence[Act], turns: Counter[str]) -> Iterable[Act]:
    """Cards that were declined once are tried again at the month's end. Electronic checks pay all, every second one
    too much in March, and some bounce in May. Mailed ones pay in two parts, and every third writer stops in June; one
    invoice of theirs is taken back, in a month in which nothing else happens.
    """
    months = range(person.joins.month, MONTHS + 1)
    if person.token is not None:
        return [TryAgain(on=day(month, SETTLES_ON)) for month in months] if person.declines_at else []
    turns[method] += 1
    if method == "Electronic check":
        round_up = turns[method] % 2 == 0
        paid_at_once = [Pay(on=day(month, PAYS_ON), notes=1_000 if round_up and month == 3 else 1) for month in months]
        bounced = [] if round_up or person.joins.month > 3 else [Bounce(on=day(5, LEAVES_ON))]
        return [*paid_at_once, *bounced]
    defaults = turns[method] % 3 == 0
    paid = [month for month in months if month < 6 or not defaults]
    halves = [Pay(on=day(month, CHANGES_ON), part=Fraction(1, 2)) for month in paid]
    rest = [Pay(on=day(month, SETTLES_ON)) for month in paid]
    if not defaults:
        return [*halves, *rest]
    given_up = WriteOff(on=day(12, CHANGES_ON), before=day(10, 1))
    busy = {month for act in life for month in (act.on.month, act.on.month + 1)}
    quiet = [month for month in months if month >= 6 and month not in busy and month > person.joins.month + 1]
    return [*halves, *rest, *(VoidInvoice(on=day(month, LEAVES_ON)) for month in quiet[:1]), given_up]
