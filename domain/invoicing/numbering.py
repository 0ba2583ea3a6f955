"""Numbers of one series of invoices, or of credit notes: gapless, in the order of issue, never reused."""

from dataclasses import dataclass

from domain.kernel.stream import Stream, Streams, Topic

DEFAULT_SERIES = "INV"
CREDIT_NOTE_SERIES = "CN"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceNumberTaken:
    """By an invoice, or by one of its credit notes."""

    series: str
    number: int
    invoice_id: str
    credit_note_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceNumbering:
    """`last` is the highest number given out; the next is one more."""

    series: str
    last: int


def take_number(
    streams: Streams, series: str, invoice_id: str, credit_note_id: str | None = None
) -> InvoiceNumberTaken:
    """The series' next number, for this invoice or its credit note."""
    numbering = streams.get(INVOICE_NUMBERING, series)
    return InvoiceNumberTaken(
        series=series,
        number=1 if numbering is None else numbering.last + 1,
        invoice_id=invoice_id,
        credit_note_id=credit_note_id,
    )


def number_text(taken: InvoiceNumberTaken) -> str:
    """How a number is printed: INV-000042."""
    return f"{taken.series}-{taken.number:06d}"


def evolve(numbering: InvoiceNumbering | None, event: InvoiceNumberTaken) -> InvoiceNumbering:
    return InvoiceNumbering(series=event.series, last=event.number)


EVENTS: dict[str, type] = {"invoice_number.taken": InvoiceNumberTaken}

INVOICE_NUMBERING: Stream[InvoiceNumbering] = Stream(
    name="invoice_numbering",
    id_field="series",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda numbering: None,
)
