"""Prepaid credits: which grants pay for how much of an amount, and what is lost when they expire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import EXACT, Rounding, round_to_int

CREDIT_DECIMALS = 9
"""Decimals of a number of credits. What draws take together is rounded up to it."""

_CREDIT_STEP = Decimal(1).scaleb(-CREDIT_DECIMALS)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """Credits granted or bought at once. Made by `grant_credits`.

    `granted` and `drawn` are credits; `unit_amount` is what one is worth, in minor units (1 for money itself). `value`
    is what all of them are worth, rounded once: the books hold it, and neither more nor less can be paid with the
    grant. `drawn_amount` is what was paid with it so far. Lower `priority` is used first.
    """

    grant_id: str
    granted: Decimal
    unit_amount: Decimal
    value: Money
    drawn: Decimal = Decimal(0)
    drawn_amount: Money
    priority: int = 0
    granted_at: datetime
    expires_at: datetime | None = None

    @property
    def left(self) -> Decimal:
        """Credits not yet drawn."""
        return EXACT.subtract(self.granted, self.drawn)

    @property
    def value_left(self) -> Money:
        """What can still be paid with it, and what the books still hold of it. When it expires, this is lost."""
        return self.value - self.drawn_amount


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
    """Credits must be more than none, and together worth at least one minor unit."""

    code = "invalid_credit_grant"
    kind = RefusalKind.INVALID
    param = "credits"


def grant_credits(
    *,
    grant_id: str,
    granted: Decimal,
    unit_amount: Decimal,
    currency: CurrencyCode,
    rounding: Rounding,
    granted_at: datetime,
    expires_at: datetime | None = None,
    priority: int = 0,
) -> CreditGrant:
    """A new grant, worth granted × unit_amount, rounded once to minor units by `rounding`.

    Raises InvalidGrant for no credits, more decimals than CREDIT_DECIMALS, or credits that together round to nothing.
    """
    for field, number in (("granted", granted), ("unit_amount", unit_amount)):
        if not number.is_finite() or number <= 0:
            raise InvalidGrant(field=field, reason="must be above zero")
    if EXACT.remainder(granted, _CREDIT_STEP):
        raise InvalidGrant(field="granted", reason=f"at most {CREDIT_DECIMALS} decimals")
    value = Money(round_to_int(EXACT.multiply(granted, unit_amount), rounding), currency)
    if value.is_zero:
        raise InvalidGrant(field="granted", reason="together worth less than one minor unit")
    return CreditGrant(
        grant_id=grant_id,
        granted=granted,
        unit_amount=unit_amount,
        value=value,
        drawn_amount=Money.zero(currency),
        priority=priority,
        granted_at=granted_at,
        expires_at=expires_at,
    )


def is_usable(grant: CreditGrant, at: datetime) -> bool:
    """Whether the grant has begun, has not expired (it ends at `expires_at`, not after), and has value left."""
    return grant.granted_at <= at and at < (grant.expires_at or _NEVER) and not grant.value_left.is_zero


def draw_down(grants: Sequence[CreditGrant], due: Money, at: datetime) -> DrawDownPlan:
    """Which grants pay for `due` at that instant: lowest priority number first, then soonest expiry, then oldest.

    Each pays as much as its value has left. The credits that this takes are those that all its draws together take,
    amount / unit_amount rounded up to CREDIT_DECIMALS, less those taken before; the draw that uses up the value takes
    all that are left. So the parts sum to the whole however the grant is used. Grants in other currencies are left
    alone. Amounts of zero or less draw nothing.
    Soonest expiry first, after tax and without changing it, is vector 34; that priority goes before it is this
    project's policy.
    """
    left_due = max(due, Money.zero(due.currency))
    draws: list[Draw] = []
    for grant in sorted(grants, key=_order):
        if left_due.is_zero:
            break
        if grant.value.currency != due.currency or not is_usable(grant, at):
            continue
        amount = min(left_due, grant.value_left)
        draws.append(Draw(grant_id=grant.grant_id, credits=_credits_for(amount, grant), amount=amount))
        left_due -= amount
    covered = sum_money((draw.amount for draw in draws), due.currency)
    return DrawDownPlan(draws=tuple(draws), covered=covered, left_due=due - covered)


def expired(grants: Sequence[CreditGrant], at: datetime) -> tuple[CreditGrant, ...]:
    """The grants that have ended by that instant and still hold value, in the order in which they ended."""
    ended = [grant for grant in grants if grant.expires_at is not None and grant.expires_at <= at]
    return tuple(sorted((grant for grant in ended if not grant.value_left.is_zero), key=_order_of_expiry))


def _credits_for(amount: Money, grant: CreditGrant) -> Decimal:
    """What a draw of that amount takes; at most what the grant has left."""
    if amount == grant.value_left:
        return grant.left
    drawn_amount = grant.drawn_amount + amount
    numerator, denominator = grant.unit_amount.as_integer_ratio()
    steps = -(-drawn_amount.amount * denominator * 10**CREDIT_DECIMALS // numerator)
    drawn = min(Decimal(steps).scaleb(-CREDIT_DECIMALS, EXACT), grant.granted)
    return max(EXACT.subtract(drawn, grant.drawn), Decimal(0))


def _order(grant: CreditGrant) -> tuple[int, datetime, datetime, str]:
    return grant.priority, grant.expires_at or _NEVER, grant.granted_at, grant.grant_id


def _order_of_expiry(grant: CreditGrant) -> tuple[datetime, str]:
    return grant.expires_at or _NEVER, grant.grant_id
