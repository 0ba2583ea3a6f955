"""The tax report, the invoices and the account say the same of each jurisdiction, whatever happened."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import TAX_PAYABLE, Side
from schemas.codec import decode_entry
from testing.histories import History
from testing.random_histories import scramble
from tests.contracts.test_read_models import TENANTS, in_one_go
from tests.lengths import LENGTH

Books = Counter[tuple[str, str, str]]
"""Minor units by tenant, jurisdiction and currency."""


def reported(history: History) -> Books:
    found = Books()
    for row in in_one_go(history.events).rows.get("tax_days", {}).values():
        found[row["tenant_id"], row["jurisdiction"], row["currency"]] += row["tax"]
    return found


def posted(history: History) -> Books:
    found = Books()
    for event in history.events:
        for posting in () if event.postings is None else decode_entry(event.postings).postings:
            if posting.account == TAX_PAYABLE.code:
                assert posting.jurisdiction is not None
                amount = posting.amount.amount if posting.side is Side.CREDIT else -posting.amount.amount
                found[event.tenant_id, posting.jurisdiction, posting.amount.currency] += amount
    return found


def invoiced(history: History) -> Books:
    found = Books()
    of_invoices = {(event.tenant_id, event.stream_id) for event in history.events if event.stream_type == INVOICE.name}
    for tenant_id, invoice_id in of_invoices:
        invoice = history.state(tenant_id, INVOICE, invoice_id)
        assert isinstance(invoice, Invoice)
        if invoice.status is InvoiceStatus.VOID or invoice.tax is None:
            continue
        assert invoice.total_tax.amount == sum(line.total.amount - line.net.amount for line in invoice.lines)
        assert invoice.total.amount == sum(line.total.amount for line in invoice.lines)
        for total in invoice.tax.totals:
            found[tenant_id, total.jurisdiction, total.tax.currency] += total.tax.amount
        for note in invoice.credit_notes:
            for total in note.credited.tax if note.is_in_force else ():
                found[tenant_id, total.jurisdiction, total.tax.currency] -= total.tax.amount
    return found


def standing(books: Books) -> dict[tuple[str, str, str], int]:
    return {key: amount for key, amount in books.items() if amount}


def check(history: History) -> Books:
    found = invoiced(history)
    assert standing(reported(history)) == standing(posted(history)) == standing(found)
    return found


@settings(max_examples=LENGTH.scaled(8), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_invoices_report_and_account_agree_after_any_history(seed: int) -> None:
    check(scramble(History(seed), TENANTS, 100))


def test_some_histories_charge_tax_in_several_jurisdictions_and_take_some_back() -> None:
    assert any(charges_and_takes_back(scramble(History(seed), TENANTS, 800)) for seed in range(1, 9))


def charges_and_takes_back(history: History) -> bool:
    places = {place for (_, place, _), amount in check(history).items() if amount}
    voided = [event for event in history.events if event.event_type == "invoice.voided" and event.postings is not None]
    taken_back = [posting for event in voided for posting in decode_entry(event.postings or b"").postings]
    return len(places) > 1 and TAX_PAYABLE.code in {posting.account for posting in taken_back}
