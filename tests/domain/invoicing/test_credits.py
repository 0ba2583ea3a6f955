"""Credit notes, what a credit settles, and prepaid credits: single figures and refusals."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from domain.invoicing.balance import DisputeOutcome, PaymentFigures, balance_of
from domain.invoicing.credit_amounts import (
    CreditableLine,
    CreditExceedsLine,
    NothingToCredit,
    after_credit,
    creditable,
    settle_credit,
)
from domain.kernel.money import Money
from domain.kernel.refusal import RefusalKind
from domain.kernel.rounding import Rounding
from domain.tax.computation import TaxShare
from domain.wallets.prepaid_credits import (
    CreditGrant,
    InvalidGrant,
    draw_down,
    expired,
    is_usable,
)
from testing.examples.half_up import credit_gross, credit_net
from testing.examples.pricing import JPY, NEW_YEAR, grant, usd

DAY = timedelta(days=1)


def billed(net: int, *taxes: int) -> CreditableLine:
    return creditable("l", usd(net), [TaxShare(f"t{index}", usd(tax)) for index, tax in enumerate(taxes)])


def parts(line: CreditableLine, *nets: int, rounding: Rounding = Rounding.HALF_UP) -> list[tuple[int, list[int]]]:
    credited: list[tuple[int, list[int]]] = []
    for net in nets:
        credit = credit_net(line, usd(net), rounding)
        credited.append((credit.net.amount, [tax.amount.amount for tax in credit.taxes]))
        line = after_credit(line, credit)
    return credited


def test_a_part_takes_its_share_of_each_tax_and_the_last_takes_the_rest() -> None:
    assert parts(billed(100, 20, 5), 50, 25, 25) == [(50, [10, 3]), (25, [5, 1]), (25, [5, 1])]
    assert parts(billed(100, 20, 5), 50, rounding=Rounding.HALF_EVEN) == [(50, [10, 2])]
    assert parts(billed(3, 1), 1, 1, 1) == [(1, [0]), (1, [1]), (1, [0])]
    assert parts(billed(-100, -21), -50, -50) == [(-50, [-11]), (-50, [-10])]


def test_a_credit_says_its_tax_and_total() -> None:
    credit = credit_net(billed(100, 20, 5), usd(50))
    assert (credit.line_id, credit.tax, credit.total) == ("l", usd(13), usd(63))
    assert [tax.rate_id for tax in credit.taxes] == ["t0", "t1"]


def test_an_amount_with_tax_is_credited_as_the_line_is_made_up() -> None:
    line = billed(1000, 200)
    credit = credit_gross(line, usd(600))
    assert (credit.net, credit.tax, credit.total) == (usd(500), usd(100), usd(600))
    rest = after_credit(line, credit)
    assert rest.left == usd(600)
    last = credit_gross(rest, usd(600))
    assert (last.net, last.tax) == (usd(500), usd(100))
    assert after_credit(rest, last).left == usd(0)


def test_gross_and_net_credits_mix_without_passing_what_is_left() -> None:
    line = billed(10, 5)
    line = after_credit(line, credit_net(line, usd(10)))
    assert (line.left_net, line.left) == (usd(0), usd(0))
    line = billed(10, 10)
    first = credit_gross(line, usd(1))
    assert (first.net, first.tax) == (usd(1), usd(0))
    line = after_credit(line, first)
    second = credit_gross(line, usd(1))
    assert (second.net, second.tax) == (usd(0), usd(1))
    line = after_credit(line, second)
    third = credit_net(line, usd(9))
    assert third.tax == usd(9)


def test_a_gross_credit_rounds_by_the_chosen_rule() -> None:
    line = billed(10, 10)
    assert credit_gross(line, usd(1)).net == usd(1)
    assert credit_gross(line, usd(1), Rounding.HALF_EVEN).net == usd(0)


def test_several_taxes_share_a_gross_credit() -> None:
    credit = credit_gross(billed(1000, 200, 100), usd(650))
    assert [credit.net.amount, *[tax.amount.amount for tax in credit.taxes]] == [500, 100, 50]
    untaxed = credit_gross(billed(1000), usd(650))
    assert (untaxed.net, untaxed.taxes) == (usd(650), ())
    at_zero = credit_gross(billed(1000, 0), usd(650))
    assert [tax.amount.amount for tax in at_zero.taxes] == [0]


def test_two_halves_of_a_gross_credit_take_the_two_taxes_one_after_the_other() -> None:
    line = billed(2, 1, 1)
    first = credit_gross(line, usd(2))
    second = credit_gross(after_credit(line, first), usd(2))
    assert [(one.net.amount, *(tax.amount.amount for tax in one.taxes)) for one in (first, second)] == [
        (1, 1, 0),
        (1, 0, 1),
    ]


@pytest.mark.parametrize("wanted", [101, -1, -101])
def test_more_than_is_left_or_of_the_other_sign_is_refused(wanted: int) -> None:
    with pytest.raises(CreditExceedsLine) as refused:
        credit_net(billed(100, 20), usd(wanted))
    assert refused.value.details == {"line_id": "l", "wanted": usd(wanted).format(), "left": "1.00 USD"}
    with pytest.raises(CreditExceedsLine):
        credit_gross(billed(100), usd(wanted))
    with pytest.raises(CreditExceedsLine):
        credit_net(billed(-100), usd(-wanted))


def test_nothing_is_left_of_a_line_that_is_credited_whole() -> None:
    line = billed(100, 20)
    line = after_credit(line, credit_net(line, usd(100)))
    with pytest.raises(CreditExceedsLine):
        credit_net(line, usd(1))
    with pytest.raises(CreditExceedsLine):
        credit_gross(line, usd(-1))


def test_a_credit_keeps_the_ids_of_its_line_and_rates() -> None:
    line = billed(100, 20, 5)
    assert [tax.rate_id for tax in line.credited_taxes] == ["t0", "t1"]
    for credit in (credit_net(line, usd(50)), credit_gross(line, usd(50)), credit_gross(line, usd(1))):
        assert credit.line_id == "l"
        assert [tax.rate_id for tax in credit.taxes] == ["t0", "t1"]
        assert [tax.rate_id for tax in after_credit(line, credit).credited_taxes] == ["t0", "t1"]


def test_a_tax_that_is_ahead_of_its_share_waits_for_the_rest() -> None:
    for sign in (1, -1):
        line = billed(sign * 100, sign * 10)
        ahead = replace(line, credited_taxes=(TaxShare("t0", usd(sign * 9)),))
        assert credit_net(ahead, usd(sign * 10)).tax == usd(0)
        assert credit_net(ahead, usd(sign * 100)).tax == usd(sign)
        assert credit_gross(ahead, usd(sign)).tax == usd(0)
        behind = replace(line, credited_net=usd(sign * 90))
        assert credit_gross(behind, usd(sign * 2)).net == usd(0)
        assert credit_gross(behind, usd(sign * 20)).tax == usd(sign * 10)


def test_a_credit_of_nothing_is_refused() -> None:
    for credit in (credit_net, credit_gross):
        with pytest.raises(NothingToCredit) as refused:
            credit(billed(100), usd(0))
        assert refused.value.details == {"line_id": "l"}
        assert refused.value.kind is RefusalKind.INVALID


@pytest.mark.parametrize(
    ("credit", "due", "reduces", "back"),
    [(50, 80, 50, 0), (80, 80, 80, 0), (90, 80, 80, 10), (5, 0, 0, 5), (5, -3, 0, 5)],
)
def test_a_credit_reduces_what_is_due_before_it_is_given_back(credit: int, due: int, reduces: int, back: int) -> None:
    settled = settle_credit(usd(credit), usd(due))
    assert (settled.reduces_due, settled.to_give_back) == (usd(reduces), usd(back))


def test_a_balance_sums_all_payments_and_a_loss_that_is_booked_reopens_nothing() -> None:
    payments = [
        PaymentFigures(captured=usd(100), refunded=usd(30)),
        PaymentFigures(captured=usd(50), refunded=usd(0), dispute=DisputeOutcome.LOST_AS_LOSS),
        PaymentFigures(captured=usd(40), refunded=usd(0), dispute=DisputeOutcome.WON),
        PaymentFigures(captured=usd(20), refunded=usd(5), dispute=DisputeOutcome.LOST_REOPENED),
    ]
    assert balance_of(usd(1000), usd(10), usd(0), payments) == usd(1000 - 10 - 70 - 50 - 40)


def test_what_credits_and_the_customers_balance_paid_is_not_owed() -> None:
    captured = PaymentFigures(captured=usd(8000), refunded=usd(0))
    assert balance_of(usd(10_000), usd(0), usd(2000), [captured]) == usd(0)
    assert balance_of(usd(10_000), usd(500), usd(2000), [captured]) == usd(-500)
    assert balance_of(usd(10_000), usd(0), usd(0), [captured]) == usd(2000)


def drawn(plan_for: int, *grants: CreditGrant, days: int = 0) -> list[tuple[str, str, int]]:
    plan = draw_down(grants, usd(plan_for), NEW_YEAR + days * DAY)
    return [(draw.grant_id, str(draw.credits), draw.amount.amount) for draw in plan.draws]


def test_grants_are_used_by_priority_then_expiry_then_age_then_id() -> None:
    never = grant("never", 1)
    late = grant("late", 1, expires_at=NEW_YEAR + 9 * DAY)
    soon = grant("soon", 1, expires_at=NEW_YEAR + 5 * DAY)
    old = grant("old", 1, expires_at=NEW_YEAR + 5 * DAY, granted_at=NEW_YEAR - DAY)
    urgent = grant("urgent", 1, priority=-1)
    twin = grant("soon2", 1, expires_at=NEW_YEAR + 5 * DAY)
    used = [grant_id for grant_id, _, _ in drawn(100, never, twin, late, soon, old, urgent)]
    assert used == ["urgent", "old", "soon", "soon2", "late", "never"]


def test_drawing_stops_when_nothing_is_due() -> None:
    assert drawn(0, grant("g", 5)) == []
    assert drawn(-5, grant("g", 5)) == []
    assert drawn(3, grant("g", 3), grant("h", 5)) == [("g", "3", 3)]
    plan = draw_down([grant("g", 3)], usd(-5), NEW_YEAR)
    assert (plan.covered, plan.left_due) == (usd(0), usd(-5))
    plan = draw_down([grant("g", 3)], usd(5), NEW_YEAR)
    assert (plan.covered, plan.left_due) == (usd(3), usd(2))


def test_a_grant_is_usable_from_its_start_until_just_before_its_end() -> None:
    one = grant("g", 5, expires_at=NEW_YEAR + DAY)
    assert not is_usable(one, NEW_YEAR - timedelta(microseconds=1))
    assert is_usable(one, NEW_YEAR)
    assert is_usable(one, NEW_YEAR + DAY - timedelta(microseconds=1))
    assert not is_usable(one, NEW_YEAR + DAY)
    assert not is_usable(grant("g", 5, drawn=5, drawn_amount=5), NEW_YEAR)
    assert drawn(5, one, days=1) == []


def test_grants_in_other_currencies_are_left_alone() -> None:
    yen = replace(grant("g", 5), value=Money(5, JPY), drawn_amount=Money(0, JPY))
    assert drawn(5, yen, grant("h", 5)) == [("h", "5", 5)]


def test_the_credits_of_all_draws_together_are_rounded_up_and_the_last_takes_the_rest() -> None:
    assert drawn(1, grant("g", 1, 3)) == [("g", "0.333333334", 1)]
    assert drawn(1, grant("g", 1, 3, drawn="0.333333334", drawn_amount=1)) == [("g", "0.333333333", 1)]
    assert drawn(9, grant("g", 1, 3, drawn="0.666666667", drawn_amount=2)) == [("g", "0.333333333", 1)]
    assert drawn(7, grant("g", 100, "0.3")) == [("g", "23.333333334", 7)]


def test_credits_may_be_worth_less_than_a_minor_unit() -> None:
    assert drawn(1, grant("g", 10, "0.25")) == [("g", "4.000000000", 1)]
    assert drawn(9, grant("g", 10, "0.25")) == [("g", "10", 3)]
    assert drawn(9, grant("g", 10, "0.25", rounding=Rounding.HALF_EVEN)) == [("g", "10", 2)]


@pytest.mark.parametrize(
    ("granted", "unit_amount", "worth"),
    [("10.5", 1, 11), ("10.4", 1, 10), ("0.1", 5, 1), ("0.5", 3, 2), ("3", "0.5", 2)],
)
def test_what_a_grant_is_booked_at_is_what_can_be_paid_with_it(granted: str, unit_amount: str, worth: int) -> None:
    one = grant("g", granted, unit_amount)
    assert one.value == usd(worth)
    assert drawn(100, one) == [("g", granted, worth)]


def test_credits_worth_a_fortune_each_are_used_up_by_their_first_draw_and_pay_on() -> None:
    one = grant("g", "0.000000001", 10**12)
    (first,) = draw_down([one], usd(1), NEW_YEAR).draws
    rest = replace(one, drawn=first.credits, drawn_amount=first.amount)
    assert (first.credits, rest.value_left) == (one.granted, usd(999))
    assert [(draw.credits, draw.amount) for draw in draw_down([rest], usd(5000), NEW_YEAR).draws] == [
        (Decimal(0), usd(999))
    ]


def test_the_value_of_a_grant_is_rounded_by_the_chosen_rule() -> None:
    assert (grant("g", "2.5").value, grant("g", "2.5", rounding=Rounding.HALF_EVEN).value) == (usd(3), usd(2))
    used = grant("g", "2.5", 1, drawn=1, drawn_amount=1)
    assert used.value_left == usd(2)


def test_expired_grants_come_in_the_order_in_which_they_ended() -> None:
    second = grant("b", 1, expires_at=NEW_YEAR + 2 * DAY)
    first = grant("c", 1, expires_at=NEW_YEAR + DAY)
    twin = grant("a", 1, expires_at=NEW_YEAR + 2 * DAY)
    later = grant("d", 1, expires_at=NEW_YEAR + 3 * DAY)
    spent = grant("e", 1, expires_at=NEW_YEAR, drawn=1, drawn_amount=1)
    never = grant("f", 1)
    ended = expired([second, later, first, spent, never, twin], NEW_YEAR + 2 * DAY)
    assert [one.grant_id for one in ended] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("granted", "unit_amount", "field", "reason"),
    [
        ("0", "1", "granted", "must be above zero"),
        ("-1", "1", "granted", "must be above zero"),
        ("NaN", "1", "granted", "must be above zero"),
        ("1", "0", "unit_amount", "must be above zero"),
        ("1", "-1", "unit_amount", "must be above zero"),
        ("1.0000000001", "1", "granted", "at most 9 decimals"),
        ("0.004", "100", "granted", "together worth less than one minor unit"),
        ("0.000000001", "0.0001", "granted", "together worth less than one minor unit"),
    ],
)
def test_an_unsound_grant_is_refused(granted: str, unit_amount: str, field: str, reason: str) -> None:
    with pytest.raises(InvalidGrant) as refused:
        grant("g", granted, unit_amount)
    assert refused.value.details == {"field": field, "reason": reason}
    assert refused.value.kind is RefusalKind.INVALID


def test_the_least_that_is_worth_something_is_granted() -> None:
    assert grant("g", "0.005", "100").value == usd(1)
    with pytest.raises(InvalidGrant):
        grant("g", "0.005", "100", rounding=Rounding.HALF_EVEN)
