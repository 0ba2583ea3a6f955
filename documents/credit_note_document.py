"""A credit note as a document: its invoice's seller and customer, what is credited, and where that went. Pure.

The same facts give the same document, as of an invoice.
"""

from datetime import UTC, datetime

from documents.formats import Formats
from documents.invoice_document import (
    Document,
    InvoiceFacts,
    Pair,
    Row,
    buyer_of,
    file_name_of,
    paper_of,
    rates_of,
    seller_of,
    tax_notes,
)
from documents.words import WORDS, Words
from domain.invoicing.credit_note import CreditNote, CreditNoteLine, CreditNoteStatus


def credit_note_document(note: CreditNote, facts: InvoiceFacts) -> Document:
    """The document of a credit note; `facts` are its invoice's."""
    formats = Formats(facts.locale, facts.time_zone)
    words = WORDS[formats.language]
    at = note.created_at.astimezone(UTC)
    return Document(
        file_name=file_name_of(note.number),
        language=formats.language,
        paper=paper_of(formats),
        title=f"{words.credit_note} {note.number}",
        at=(at.year, at.month, at.day, at.hour, at.minute, at.second),
        seller=seller_of(facts, formats),
        buyer=buyer_of(facts, formats, words),
        facts=tuple(_facts(note, facts, formats, words, at)),
        stamp=words.void if note.status is CreditNoteStatus.VOID else "",
        rows=tuple(_row(line, formats) for line in note.credited.lines),
        discounts=(),
        taxes=tuple(_taxes(note, facts, formats, words)),
        totals=tuple(_totals(note, formats, words)),
        notes=(*tax_notes(note.credited.tax, words), *((words.erased,) if facts.is_erased else ())),
        footer=facts.seller.footer or "",
        words=words,
    )


def _facts(note: CreditNote, facts: InvoiceFacts, formats: Formats, words: Words, at: datetime) -> list[Pair]:
    found = [
        Pair(words.credit_note_number, note.number),
        Pair(words.credit_note_date, formats.day(at)),
        Pair(words.for_invoice, facts.invoice.number or ""),
    ]
    if note.voided_at is not None:
        found.append(Pair(words.voided_on, formats.day(note.voided_at)))
    found.append(Pair(words.reference, facts.customer.external_id or facts.customer.customer_id))
    if note.reason is not None:
        found.append(Pair(words.reason, note.reason))
    return found


def _row(line: CreditNoteLine, formats: Formats) -> Row:
    """At its net amount: the tax stands below, whether the invoice's price included it or not."""
    quantity = "" if line.quantity is None else formats.quantity(line.quantity)
    return Row(
        description=line.description, period="", quantity=quantity, unit_price="", amount=formats.money(line.net)
    )


def _taxes(note: CreditNote, facts: InvoiceFacts, formats: Formats, words: Words) -> list[Pair]:
    if facts.invoice.tax is None:
        return []
    net = Pair(words.net, formats.money(note.credited.total - note.tax))
    return [net, *rates_of(note.credited.tax, formats)]


def _totals(note: CreditNote, formats: Formats, words: Words) -> list[Pair]:
    """The total, and where it went: off what was due, to the balance, back by a refund. They add up."""
    went = (
        (words.off_due, note.credited.reduces_due),
        (words.to_balance, note.to_balance),
        (words.refunded, note.refunded),
    )
    shown = [(label, amount) for label, amount in went if amount.amount and note.is_in_force]
    return [Pair(label, formats.money(amount)) for label, amount in [(words.total, note.credited.total), *shown]]
