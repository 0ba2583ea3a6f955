"""What a change in the middle of a billing period costs or gives back.

Two ways of billing: **in advance**, the period is paid, so a change credits what is unused of the old price and charges
the rest of the new one; **in arrears**, each price is billed at the end for the piece during which it held. Every line
is price × share, rounded once; `domain/proration_basis.py` says what the share is. A price is exact where it does not
come out even, and a credit gives back what was paid for it, whatever the price was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from domain.invoicing.computation import AmountLine
from domain.kernel.billing_period import BillingCycle, Interval, Period
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import CurrencyMismatch, ExactAmount, Money, allocate, times
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding
from domain.subscriptions.paid_charge import PaidCharge, PeriodPrice
from domain.subscriptions.proration_basis import (
    ProrationBasis,
    ServicePeriod,
    share_of,
    unused_share_after_cancellation,
    used_share_at_cancellation,
)
from domain.tax.computation import TaxRate


class ChangeTiming(StrEnum):
    """When a change takes effect, and on which invoice its lines go."""

    NOW_INVOICE_NOW = "now_invoice_now"
    NOW_NEXT_INVOICE = "now_next_invoice"
    AT_PERIOD_END = "at_period_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProrationPolicy:
    """Written on the subscription, or on the request that changes it."""

    basis: ProrationBasis = ProrationBasis.SECOND
    timing: ChangeTiming = ChangeTiming.NOW_INVOICE_NOW
    credit_unused: bool = True
    reset_anchor: bool = False
    rounding: Rounding


class LineKind(StrEnum):
    """Which way a line goes."""

    CREDIT = "credit"
    CHARGE = "charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProrationLine:
    """amount = ± price × share, rounded. Credits are negative. `period` is the service time that the line is for.

    A credit names the charge that it gives back. Its amount is price × share × the charge's `paid_part`, and never more
    than the charge has left.
    """

    kind: LineKind
    amount: Money
    price: PeriodPrice  # of the whole period
    share: Fraction
    period: Period
    gives_back: PaidCharge | None = None


def amount_line(
    line: ProrationLine,
    *,
    line_id: str,
    product_id: str,
    discountable: bool,
    tax_rates: tuple[TaxRate, ...],
    tax_inclusive: bool,
) -> AmountLine:
    """The line on its invoice. A credit is not discounted, and bears the tax of what it gives back."""
    paid = line.gives_back
    return AmountLine(
        line_id=line_id,
        product_id=product_id,
        amount=line.amount,
        discountable=discountable and paid is None,
        tax_rates=tax_rates if paid is None else paid.tax_rates,
        tax_inclusive=tax_inclusive if paid is None else paid.tax_inclusive,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFrom:
    """From `at` on, a whole period costs `price`. Zero stands for a time that is not billed (a pause)."""

    at: datetime
    price: PeriodPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class ProratedChange:
    """What a change does: when it counts, its lines, whether they are invoiced now or on the next invoice.

    `still_paid` are the charges of before that go on paying the period: all of them where nothing was credited.
    `new_schedule` is set where the anchor was reset; the charge is then for that schedule's period 0.
    """

    effective_at: datetime
    lines: tuple[ProrationLine, ...]
    still_paid: tuple[PaidCharge, ...]
    invoice_now: bool
    new_schedule: BillingCycle | None = None


class OutsidePeriod(Refusal):
    """The change does not lie in the period that it is to divide."""

    code = "outside_period"
    kind = RefusalKind.INVALID
    param = "effective_at"


class AnchorMustBeReset(Refusal):
    """Another interval begins another period, so the change must reset the anchor or wait for the period's end."""

    code = "anchor_must_be_reset"
    kind = RefusalKind.INVALID
    param = "reset_anchor"

    def summary(self) -> str:
        if "next_period" in self.details:
            return "The billing date was moved: reset the anchor, or wait until the next period has begun."
        return super().summary()


# --- in advance ------------------------------------------------------------------------------------------------------


def start_charge(
    price: PeriodPrice, at: datetime, service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """A start inside a period paid in advance: price × share of [at, end), rounded once, in minor units.

    For a first stub before a billing day or calendar boundary, and for the end of a trial (vectors 4, 5 and 15).
    Under `none` the stub is free, as Stripe documents for an anchor in the future without proration.
    """
    _must_contain(service, at)
    return _charge(price, service.period.starting_at(at), service, policy)


def plan_change(
    paid: Sequence[PaidCharge],
    new_price: PeriodPrice,
    at: datetime,
    service: ServicePeriod,
    policy: ProrationPolicy,
    *,
    new_interval: Interval | None = None,
) -> ProratedChange:
    """Another price from `at` on, paid in advance: credit for the rest of the old, charge for the rest of the new.

    For a change of plan, of quantity, and for a new price of the same plan in mid-period. `paid` are the charges that
    paid the running period and were not credited since; `new_price` is of a whole period. Each line is price × share of
    [at, end), rounded once. Credit and charge as two lines is what Stripe, Lago and Polar show (vectors 7, 10 to 14).

    Without credit what is paid stays paid: an upgrade costs the difference to it for the rest of the period, anything
    up to it costs nothing more, and the charges paid so far remain the ones to pass to the next change.

    With `reset_anchor` the new price is charged whole, for a period that begins at `at` (vector 12), with or without
    credit for the rest of the old one. `new_interval` differs from the present one only with it.
    Raises OutsidePeriod, AnchorMustBeReset, CurrencyMismatch.
    """
    _must_contain(service, at)
    for charge in paid:
        _must_be_in(new_price.currency, charge.price)
    if policy.timing is ChangeTiming.AT_PERIOD_END:
        return ProratedChange(effective_at=service.period.end, lines=(), still_paid=tuple(paid), invoice_now=False)
    rest = service.period.starting_at(at)
    share = share_of(rest, service, policy.basis)
    credited = _credits(paid, rest, share, policy)
    if policy.reset_anchor:
        schedule = BillingCycle.anniversary(at, service.time_zone, new_interval or service.interval)
        whole = Period(at, schedule.boundary(1))
        lines = (*credited, *_line(new_price, Fraction(1), whole, policy))
        return ProratedChange(effective_at=at, lines=lines, still_paid=(), invoice_now=True, new_schedule=schedule)
    if new_interval is not None and new_interval != service.interval:
        raise AnchorMustBeReset(interval=new_interval.unit, count=new_interval.count)
    still_paid, lines = tuple(paid), ()
    more = Fraction(new_price.amount) - sum(Fraction(charge.price.amount) for charge in paid)
    if policy.credit_unused and more != 0 and share != 0:
        still_paid, lines = (), (*credited, *_line(new_price, share, rest, policy))
    elif more > 0:
        lines = _line(ExactAmount(more, new_price.currency), share, rest, policy)
    now = policy.timing is ChangeTiming.NOW_INVOICE_NOW
    return ProratedChange(effective_at=at, lines=lines, still_paid=still_paid, invoice_now=now)


def changes_in_period(
    paid: Sequence[PaidCharge], changes: Sequence[PriceFrom], service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """Several changes in a period paid in advance by `paid`, each with its own rounded lines (vector 35).

    Changes that the basis cannot tell apart net out to the last of them: those of one local date where days are
    counted, of one instant where seconds are. The order of `changes` decides between equal instants. A policy that
    resets the anchor divides no period and has no place here: use `plan_change`.
    """
    if policy.reset_anchor:
        raise ValueError("a change that resets the anchor begins another period")
    lines: list[ProrationLine] = []
    current = tuple(paid)
    for change in _netted(changes, service, policy.basis):
        change_now = plan_change(current, change.price, change.at, service, policy)
        charged = (charge_paid(line) for line in change_now.lines if line.kind is LineKind.CHARGE)
        current = (*change_now.still_paid, *charged)
        lines.extend(change_now.lines)
    return tuple(lines)


def charge_paid(
    line: ProrationLine,
    *,
    line_id: str | None = None,
    discounted: Money | None = None,
    tax_rates: tuple[TaxRate, ...] = (),
    tax_inclusive: bool = False,
) -> PaidCharge:
    """A charge once it was billed, at what discounts left of it (else all of it)."""
    return PaidCharge(
        line_id=line_id,
        price=line.price,
        billed=line.amount,
        discounted=line.amount if discounted is None else discounted,
        given_back=Money.zero(line.amount.currency),
        tax_rates=tax_rates,
        tax_inclusive=tax_inclusive,
    )


def after_credit(paid: PaidCharge, credit: ProrationLine) -> PaidCharge:
    """The charge once that credit gave a part of it back."""
    return replace(paid, given_back=paid.given_back - credit.amount)


def cancellation_credit(
    paid: Sequence[PaidCharge], at: datetime, service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """What a cancellation gives back of a period paid in advance: the unused share of each charge, rounded once.

    `paid` are the charges that paid the period and were not credited since. Nothing without `credit_unused` or at the
    period's end. `day_inclusive` bills the day of the cancellation, the other bases do not (vectors 8, 29 to 32, 36).
    """
    _must_contain(service, at)
    if policy.timing is ChangeTiming.AT_PERIOD_END:
        return ()
    share = unused_share_after_cancellation(at, service, policy.basis)
    return _credits(paid, service.period.starting_at(at), share, policy)


def pause_credit(
    paid: Sequence[PaidCharge], at: datetime, service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """What a pause gives back of a period paid in advance: the share of [at, end) of each charge, rounded once.

    A pause is a change to nothing: under `day_inclusive` too its day is unbilled, and billed again if the subscription
    is resumed on that day, so that the two net out. Kill Bill's pause and resume give the same figures (vector 16).
    """
    _must_contain(service, at)
    if policy.timing is ChangeTiming.AT_PERIOD_END:
        return ()
    rest = service.period.starting_at(at)
    return _credits(paid, rest, share_of(rest, service, policy.basis), policy)


def resume_charge(
    price: PeriodPrice, paused_at: datetime, resumed_at: datetime, service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """What resuming costs: price × share of [resumed_at, end) of the period around it, rounded once, in minor units.

    `service` is the period around `resumed_at`, on the schedule that the pause left untouched (vector 16). If the
    pause began in that same period and was not credited, it is still paid for and nothing is charged.
    """
    _must_contain(service, resumed_at)
    if service.period.contains(paused_at) and not policy.credit_unused:
        return ()
    return _charge(price, service.period.starting_at(resumed_at), service, policy)


def split_period(price: Money, cuts: Sequence[datetime], service: ServicePeriod, basis: ProrationBasis) -> list[Money]:
    """The price of one whole period over its pieces between `cuts`, in minor units, conserving it.

    Largest remainder over the shares, ties to the earlier piece; so the parts sum to the price under every basis, also
    under `fixed_30` where the shares do not sum to 1.
    """
    edges = [service.period.start, *sorted(cuts), service.period.end]
    for cut in cuts:
        _must_contain(service, cut)
    pieces = [Period(start, end) for start, end in pairwise(edges)]
    return allocate(price, [share_of(piece, service, basis) for piece in pieces])


# --- in arrears ------------------------------------------------------------------------------------------------------


def arrears_charges(
    prices: Sequence[PriceFrom],
    service: ServicePeriod,
    policy: ProrationPolicy,
    *,
    canceled_at: datetime | None = None,
) -> tuple[ProrationLine, ...]:
    """A period billed at its end: each price × share of the piece during which it held, rounded once, in minor units.

    `prices` in order of time; the first may have begun before the period, a time before the first is not billed (a
    start in mid-period), a price of zero is a pause. With `canceled_at`, the last piece ends there, and `day_inclusive`
    bills that day (vectors 6 and 9). Prices that the basis cannot tell apart net out to the last.
    """
    whole = service.period
    for change in prices[1:]:
        _must_be_in(prices[0].price.currency, change.price)
    if canceled_at is not None:
        _must_contain(service, canceled_at)
    end_of_all = whole.end if canceled_at is None else canceled_at
    held = _netted([change for change in prices if change.at <= end_of_all], service, policy.basis)
    lines: list[ProrationLine] = []
    for index, change in enumerate(held):
        is_last = index + 1 == len(held)
        piece = Period(max(change.at, whole.start), end_of_all if is_last else held[index + 1].at)
        if is_last and canceled_at is not None:
            share = used_share_at_cancellation(canceled_at, service, policy.basis, since=piece.start)
        else:
            share = share_of(piece, service, policy.basis)
        lines.extend(_line(change.price, share, piece, policy))
    return tuple(lines)


# --- lines -----------------------------------------------------------------------------------------------------------


def _netted(changes: Sequence[PriceFrom], service: ServicePeriod, basis: ProrationBasis) -> list[PriceFrom]:
    """Changes in order of time, of those at one moment (as the basis sees it) only the last."""
    by_date = basis in {ProrationBasis.DAY, ProrationBasis.DAY_INCLUSIVE, ProrationBasis.FIXED_30}
    last_of_moment = {
        service.date_at(change.at) if by_date else max(change.at, service.period.start): change
        for change in sorted(changes, key=lambda change: change.at)
    }
    return list(last_of_moment.values())


def _charge(
    price: PeriodPrice, piece: Period, service: ServicePeriod, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    return _line(price, share_of(piece, service, policy.basis), piece, policy)


def _line(price: PeriodPrice, share: Fraction, piece: Period, policy: ProrationPolicy) -> tuple[ProrationLine, ...]:
    """One charge, or none where there is nothing to show."""
    if share == 0 or price.amount == 0:
        return ()
    amount = times(price, share, policy.rounding)
    return (ProrationLine(kind=LineKind.CHARGE, amount=amount, price=price, share=share, period=piece),)


def _credits(
    paid: Sequence[PaidCharge], piece: Period, share: Fraction, policy: ProrationPolicy
) -> tuple[ProrationLine, ...]:
    """One credit for each charge that has something to give back."""
    if not policy.credit_unused or share == 0:
        return ()
    return tuple(
        ProrationLine(
            kind=LineKind.CREDIT,
            amount=-min(times(charge.price, share * charge.paid_part, policy.rounding), charge.left),
            price=charge.price,
            share=share,
            period=piece,
            gives_back=charge,
        )
        for charge in paid
        if charge.price.amount and not charge.left.is_zero
    )


def _must_be_in(currency: CurrencyCode, price: PeriodPrice) -> None:
    if price.currency != currency:
        raise CurrencyMismatch(currency=price.currency, other=currency)


def _must_contain(service: ServicePeriod, at: datetime) -> None:
    if not service.period.contains(at):
        raise OutsidePeriod(at=at, start=service.period.start, end=service.period.end)
