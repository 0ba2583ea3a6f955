"""Prepaid credits: which grants pay for how much of an amount, and what is lost when they expire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal

from domain.kernel.money import Money, sum_money, times
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import EXACT, Rounding

CREDIT_DECIMALS = 9
"""Decimals of a number of credits. Draws are rounded up to it, so credits never pay for more than they cost."""

_CREDIT_STEP = Decimal(1).scaleb(-CREDIT_DECIMALS)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """Credits granted or bought at once.

    `granted` and `drawn` are credits; `unit_amount` is what one is worth, in minor units (1 for money itself);
    `drawn_amount` is what was paid with it so far. Lower `priority` is used first.
    """

    grant_id: str
    granted: Decimal
    drawn: Decimal = Decimal(0)
    unit_amount: Decimal
    drawn_amount: Money
    priority: int = 0
    granted_at: datetime
    expires_at: datetime | None = None

    @property
    def left(self) -> Decimal:
        """Credits not yet drawn."""
        return EXACT.subtract(self.granted, self.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """So many credits of a grant pay that amount."""

    grant_id: str
    credits: Decimal
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawDownPlan:
    """`covered` is the sum of the draws; `left_due` remains to be paid otherwise."""

    draws: tuple[Draw, ...]
    covered: Money
    left_due: Money


class InvalidGrant(Refusal):
    """Credits must be more than none, and worth something."""

    code = "invalid_credit_grant"
    kind = RefusalKind.INVALID
    param = "credits"


def check_grant(grant: CreditGrant) -> None:
    """Refuse a new grant of no credits, of more decimals than CREDIT_DECIMALS, or of credits worth nothing."""
    for field, number in (("granted", grant.granted), ("unit_amount", grant.unit_amount)):
        if not number.is_finite() or number <= 0:
            raise InvalidGrant(field=field, reason="must be above zero")
    if EXACT.remainder(grant.granted, _CREDIT_STEP):
        raise InvalidGrant(field="granted", reason=f"at most {CREDIT_DECIMALS} decimals")


def value_of(grant: CreditGrant, rounding: Rounding = Rounding.HALF_UP) -> Money:
    """What the whole grant was worth when granted, rounded to minor units by `rounding`: the figure in the books."""
    return times(Money(1, grant.drawn_amount.currency), EXACT.multiply(grant.granted, grant.unit_amount), rounding)


def is_usable(grant: CreditGrant, at: datetime) -> bool:
    """Whether the grant has begun, has not expired (it ends at `expires_at`, not after), and has credits left."""
    return grant.granted_at <= at and at < (grant.expires_at or _NEVER) and grant.left > 0


def draw_down(grants: Sequence[CreditGrant], due: Money, at: datetime) -> DrawDownPlan:
    """Which grants pay for `due` at that instant: lowest priority number first, then soonest expiry, then oldest.

    Each pays whole minor units only: as many as its credits are worth, rounded down; the credits that this takes are
    rounded up to CREDIT_DECIMALS. Grants in other currencies are left alone. Amounts of zero or less draw nothing.
    Soonest expiry first, after tax and without changing it, is vector 34; that priority goes before it, and the way
    draws are rounded, are this project's policy: credits never pay for more than they cost.
    """
    left_due = max(due, Money.zero(due.currency))
    draws: list[Draw] = []
    for grant in sorted(grants, key=_order):
        if left_due.is_zero:
            break
        if grant.drawn_amount.currency != due.currency or not is_usable(grant, at):
            continue
        amount = min(left_due, _coverable(grant))
        if amount.is_zero:
            continue
        draws.append(Draw(grant_id=grant.grant_id, credits=_credits_for(amount, grant), amount=amount))
        left_due -= amount
    covered = sum_money((draw.amount for draw in draws), due.currency)
    return DrawDownPlan(draws=tuple(draws), covered=covered, left_due=due - covered)


def value_left(grant: CreditGrant, rounding: Rounding = Rounding.HALF_UP) -> Money:
    """What the books still hold of the grant: its value less what was paid with it. When it expires, this is lost.

    It is not computed from the credits left, so that granted = paid with + lost, to the minor unit.
    """
    return value_of(grant, rounding) - grant.drawn_amount


def expired(grants: Sequence[CreditGrant], at: datetime) -> tuple[CreditGrant, ...]:
    """The grants that have ended by that instant and still hold value, in the order in which they ended."""
    ended = [grant for grant in grants if grant.expires_at is not None and grant.expires_at <= at]
    return tuple(sorted((grant for grant in ended if not value_left(grant).is_zero), key=_order_of_expiry))


def _coverable(grant: CreditGrant) -> Money:
    worth = EXACT.multiply(grant.left, grant.unit_amount).to_integral_value(ROUND_FLOOR)
    return min(Money(int(worth), grant.drawn_amount.currency), value_left(grant))


def _credits_for(amount: Money, grant: CreditGrant) -> Decimal:
    """amount / unit_amount, rounded up to the step; at most what the grant has left."""
    numerator, denominator = grant.unit_amount.as_integer_ratio()
    steps = -(-amount.amount * denominator * 10**CREDIT_DECIMALS // numerator)
    return min(Decimal(steps).scaleb(-CREDIT_DECIMALS, EXACT), grant.left)


def _order(grant: CreditGrant) -> tuple[int, datetime, datetime, str]:
    return grant.priority, grant.expires_at or _NEVER, grant.granted_at, grant.grant_id


def _order_of_expiry(grant: CreditGrant) -> tuple[datetime, str]:
    return grant.expires_at or _NEVER, grant.grant_id
