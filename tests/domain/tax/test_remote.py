"""Whether the answer of a tax calculator outside can be taken: what fits, and each thing that does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.customers.tax_location import TaxLocation
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import TAX_RATE, is_id
from domain.kernel.money import Money
from domain.tax.remote import AnsweredTax, TaxAnswer, TaxAnswerUnfit, TaxQuestion, TaxQuestionLine, check_answer
from testing.examples.streams import EUR
from testing.examples.taxes import answer_to

YEN = CurrencyCode("JPY")


def question(*amounts: int, inclusive: bool = False, place: TaxLocation | None = None) -> TaxQuestion:
    return TaxQuestion(
        currency=EUR,
        on=date(2026, 1, 1),
        seller_country="DE",
        place=place or TaxLocation(country="DE", postal_prefix="101"),
        lines=tuple(
            TaxQuestionLine(line_id=f"il_{nth}", amount=Money(amount, EUR), inclusive=inclusive, category=None)
            for nth, amount in enumerate(amounts)
        ),
    )


def with_tax(answer: TaxAnswer, **changes: object) -> TaxAnswer:
    """The answer with another first tax of its first line, and the total that goes with it."""
    first, *others = answer.lines
    before = first.taxes[0]
    tax: AnsweredTax = replace(before, **changes)  # type: ignore[arg-type]
    lines = (replace(first, taxes=(tax, *first.taxes[1:])), *others)
    total = answer.total
    if tax.amount.currency == total.currency:
        total = total + tax.amount - before.amount
    return replace(answer, lines=lines, total=total)


ASKED = question(10_000, 333)
FITS = answer_to(ASKED)


def euros(amount: int) -> Money:
    return Money(amount, EUR)


def test_an_answer_that_fits_is_taken() -> None:
    check_answer(ASKED, FITS)
    check_answer(ASKED, answer_to(ASKED, "5", "9.975"))
    check_answer(ASKED, answer_to(ASKED, "0"))
    check_answer(question(-500, 700), answer_to(question(-500, 700)))


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda: replace(FITS, total=euros(FITS.total.amount + 1)), "total"),
        (lambda: replace(FITS, total=Money(FITS.total.amount, YEN)), "total"),
        (lambda: replace(FITS, lines=FITS.lines[:1]), "other_lines"),
        (lambda: replace(FITS, lines=(*FITS.lines, FITS.lines[0])), "other_lines"),
        (lambda: replace(FITS, lines=(replace(FITS.lines[0], line_id="il_9"), FITS.lines[1])), "other_lines"),
        (lambda: replace(FITS, calculation_id=""), "calculation_id"),
        (lambda: replace(FITS, calculation_id="x" * 101), "calculation_id"),
        (lambda: with_tax(FITS, amount=euros(-1_900)), "amount"),
        (lambda: with_tax(FITS, amount=euros(0)), "amount"),
        (lambda: with_tax(FITS, amount=euros(1_903)), "amount"),
        (lambda: with_tax(FITS, amount=Money(1_900, YEN)), "currency"),
        (lambda: with_tax(FITS, taxable=euros(10_001)), "taxable"),
        (lambda: with_tax(FITS, taxable=euros(9_999)), "taxable"),
        (lambda: with_tax(FITS, percent=Decimal("-1")), "percent"),
        (lambda: with_tax(FITS, percent=Decimal("101")), "percent"),
        (lambda: with_tax(FITS, percent=Decimal("NaN")), "percent"),
        (lambda: with_tax(FITS, country="FR"), "jurisdiction"),
        (lambda: with_tax(FITS, region="not a region"), "jurisdiction"),
        (lambda: with_tax(FITS, kind=""), "jurisdiction"),
        (lambda: replace(FITS, lines=tuple(replace(line, taxes=()) for line in FITS.lines), total=euros(0)), "no_tax"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what(spoilt: Callable[[], TaxAnswer], reason: str) -> None:
    with pytest.raises(TaxAnswerUnfit) as refused:
        check_answer(ASKED, spoilt())
    assert refused.value.details["reason"] == reason


def test_one_tax_twice_on_a_line_is_refused() -> None:
    first = FITS.lines[0].taxes[0]
    lines = (replace(FITS.lines[0], taxes=(first, first)), FITS.lines[1])
    with pytest.raises(TaxAnswerUnfit) as refused:
        check_answer(ASKED, replace(FITS, lines=lines, total=FITS.total + first.amount))
    assert refused.value.details["reason"] == "twice"


def test_a_tax_of_the_customers_region_fits_and_one_of_another_does_not() -> None:
    quebec = question(10_000, place=TaxLocation(country="CA", region="QC"))
    check_answer(quebec, with_tax(answer_to(quebec, "9.975"), region="QC"))
    with pytest.raises(TaxAnswerUnfit):
        check_answer(quebec, with_tax(answer_to(quebec, "5"), region="ON"))


def test_included_tax_is_no_more_than_the_amount() -> None:
    asked = question(100, inclusive=True)
    check_answer(asked, answer_to(asked))
    with pytest.raises(TaxAnswerUnfit):
        check_answer(asked, with_tax(answer_to(asked, "100"), amount=euros(101), taxable=euros(-1)))


@given(
    amounts=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8),
    percents=st.lists(st.decimals(0, 40, places=3), min_size=1, max_size=3),
    asks=st.sampled_from([question, partial(question, inclusive=True)]),
)
def test_whatever_is_computed_by_its_own_rates_fits(
    amounts: list[int], percents: list[Decimal], asks: Callable[..., TaxQuestion]
) -> None:
    asked = asks(*amounts)
    check_answer(asked, answer_to(asked, *map(str, percents)))


def test_a_rate_has_one_id_wherever_it_is_answered() -> None:
    first, again = (answer_to(ASKED, percent).lines[0].taxes[0].rate for percent in ("19", "19.00"))
    assert first == again
    assert is_id(first.rate_id, TAX_RATE)
    assert first.rate_id != answer_to(ASKED, "20").lines[0].taxes[0].rate.rate_id
