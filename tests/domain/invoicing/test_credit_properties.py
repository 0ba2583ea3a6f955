"""Whatever is credited of an invoice, in whatever parts: the parts sum to the whole, to the line and to the rate."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from domain.customers.tax_location import TaxLocation
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.credit_amounts import CreditExceedsLine, NothingToCredit
from domain.invoicing.credit_note import CreditExceedsInvoice, IssueCreditNote, WantedCredit
from domain.invoicing.crediting import left_of
from domain.invoicing.invoice import INVOICE
from domain.invoicing.remote_taxation import question_of
from domain.invoicing.state import Invoice
from domain.invoicing.tax_request import FinalizeWithTax
from domain.kernel.money import Money
from domain.tax.remote import TaxCalculator
from domain.tax.settings import ChangeTaxSettings
from testing.examples.streams import INVOICE_ID, customer_created, draft, id_of, line, usd
from testing.examples.taxes import BERLIN, IN_GERMANY, PARIS, QUEBEC, answer_to, create_rate, register
from testing.specification import Given, given
from tests.lengths import LENGTH

SELLER = (
    IN_GERMANY,
    create_rate("19"),
    create_rate("7", rate_id=id_of("txr_", 2), category="books"),
    create_rate("5", "CA", id_of("txr_", 3), kind="gst"),
    create_rate("9.975", "CA", id_of("txr_", 4), kind="qst", region="QC"),
    register(),
    register("CA", id_of("txreg_", 2), number="0815"),
)
"""Taxes of one rate, of two at once, and nowhere."""

places = st.sampled_from((BERLIN, QUEBEC, PARIS))
lines = st.lists(
    st.tuples(st.integers(-5_000, 20_000), st.integers(1, 7), st.booleans()), min_size=1, max_size=5
).filter(lambda drawn_lines: sum(amount for amount, *_ in drawn_lines) > 0)
"""Amount, quantity, and whether the tax is in it."""
credits_asked = st.lists(
    st.tuples(st.sampled_from(("whole", "amount", "quantity", "rest")), st.integers(0, 9), st.integers(1, 20_000)),
    max_size=8,
)


def billed(place: TaxLocation, wanted: list[tuple[int, int, bool]], percents: tuple[str, ...] = ()) -> Given:
    """Finalized with taxes of the table, or of these percentages by a calculator outside."""
    made = tuple(
        line(
            line_id=id_of("il_", 10 + nth),
            amount=amount,
            quantity=Decimal(quantity),
            tax_inclusive=inclusive,
        )
        for nth, (amount, quantity, inclusive) in enumerate(wanted)
    )
    calculator = ChangeTaxSettings(calculator=TaxCalculator.REMOTE if percents else TaxCalculator.TABLE)
    seller, customer = (*SELLER, calculator), customer_created(tax_location=place)
    story = given(*seller, customer, draft(*made), FinalizeInvoice(invoice_id=INVOICE_ID))
    asked_of: Invoice = story.books.states[INVOICE.name, INVOICE_ID]
    if asked_of.awaited_tax is None:
        return story
    answer = answer_to(question_of(asked_of), *percents)
    return story.and_then(FinalizeWithTax(invoice_id=INVOICE_ID, attempt=1, answer=answer))


def asked(invoice: Invoice, kind: str, n: int, amount: int) -> Mapping[str, Any]:
    line_id = invoice.lines[n % len(invoice.lines)]
    match kind:
        case "whole":
            return {"amount": usd(amount)}
        case "amount":
            sign = -1 if line_id.amount.is_negative else 1
            return {"lines": (WantedCredit(line_id=line_id.line_id, amount=usd(sign * amount)),)}
        case "quantity":
            return {"lines": (WantedCredit(line_id=line_id.line_id, quantity=Decimal(1 + amount % 3)),)}
        case _:
            return {"lines": (WantedCredit(line_id=line_id.line_id),)}


@settings(max_examples=LENGTH.scaled(60), deadline=None)
@drawn(place=places, wanted=lines, parts=credits_asked, percents=st.sampled_from(((), ("19",), ("5", "9.975"), ("0",))))
def test_parts_sum_to_the_invoice_line_by_line_and_rate_by_rate(
    place: TaxLocation,
    wanted: list[tuple[int, int, bool]],
    parts: list[tuple[str, int, int]],
    percents: tuple[str, ...],
) -> None:
    story = billed(place, wanted, percents)

    def now() -> Invoice:
        found: Invoice = story.books.states[INVOICE.name, INVOICE_ID]
        return found

    nothing = usd(0)
    for nth, part in enumerate([*parts, ("all", 0, 0)]):
        before = now()
        changes = {} if part[0] == "all" else asked(before, *part)
        command = IssueCreditNote(credit_note_id=id_of("cn_", 1 + nth), invoice_id=INVOICE_ID, **changes)
        try:
            story.and_then(command)
        except (CreditExceedsLine, CreditExceedsInvoice, NothingToCredit):
            continue
        after = now()
        assert after.amount_due.amount >= 0
        assert 0 < after.amount_credited.amount <= after.total.amount
        for line_id, left in left_of(after).items():
            was = left_of(before)[line_id]
            for now_left, then_left in ((left.left_net, was.left_net), (left.left, was.left)):
                assert 0 <= abs(now_left).amount <= abs(then_left).amount
                assert now_left.is_zero or now_left.is_negative == then_left.is_negative
    invoice = now()
    # A deduction with tax on top may outweigh what includes it: of less than nothing nothing is credited.
    assert invoice.amount_credited == max(invoice.total, nothing)
    taxes: dict[tuple[str, str | None], tuple[Money, Money]] = {}
    for note in invoice.credit_notes:
        for total in note.credited.tax:
            taxable, tax = taxes.get((total.treatment, total.rate_id), (nothing, nothing))
            taxes[total.treatment, total.rate_id] = taxable + total.taxable, tax + total.tax
    if all(left.left.is_zero for left in left_of(invoice).values()):
        assert invoice.tax is not None
        charged = {(each.treatment, each.rate_id): (each.taxable, each.tax) for each in invoice.tax.totals}
        assert {key: value for key, value in taxes.items() if value != (nothing, nothing)} == {
            key: value for key, value in charged.items() if value != (nothing, nothing)
        }
