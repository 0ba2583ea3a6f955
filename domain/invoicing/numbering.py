"""Numbers of documents: gapless in each count, in the order in which they are issued, never reused."""

from dataclasses import dataclass
from datetime import datetime

from domain.invoicing.billing_settings import BillingSettings
from domain.kernel.billing_period import zone_of
from domain.kernel.stream import Change, Stream, Streams, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceNumberTaken:
    """`counter` is the series, or one year of it (`INV`, `INV/2026`). An invoice took it, or a credit note of it."""

    counter: str
    number: int
    invoice_id: str
    credit_note_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceNumbering:
    """`last` is the highest number given out; the next is one more."""

    counter: str
    last: int


def take_number(
    streams: Streams,
    settings: BillingSettings,
    series_name: str,
    *,
    invoice_id: str,
    credit_note_id: str | None = None,
    at: datetime,
) -> tuple[Change, str]:
    """The series' next number, for this document, and how it is printed. Years begin by the seller's time zone.

    Raises UnknownNumberSeries.
    """
    series = settings.series_named(series_name)
    year = at.astimezone(zone_of(settings.time_zone)).year if series.is_yearly else None
    counter = counter_of(series.name, year)
    numbering = streams.get(INVOICE_NUMBERING, counter)
    number = 1 if numbering is None else numbering.last + 1
    taken = InvoiceNumberTaken(counter=counter, number=number, invoice_id=invoice_id, credit_note_id=credit_note_id)
    return INVOICE_NUMBERING.change(taken), series.text(taken.number, year)


def counter_of(series_name: str, year: int | None) -> str:
    """The count of a series, or that of one of its years."""
    return series_name if year is None else f"{series_name}/{year:04d}"


def has_given(streams: Streams, series_name: str, year: int | None, number: int) -> bool:
    """Whether the count has come as far as this number."""
    numbering = streams.get(INVOICE_NUMBERING, counter_of(series_name, year))
    return numbering is not None and number <= numbering.last


def evolve(numbering: InvoiceNumbering | None, event: InvoiceNumberTaken) -> InvoiceNumbering:
    return InvoiceNumbering(counter=event.counter, last=event.number)


EVENTS: dict[str, type] = {"invoice_number.taken": InvoiceNumberTaken}

INVOICE_NUMBERING: Stream[InvoiceNumbering] = Stream(
    name="invoice_numbering",
    id_field="counter",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda numbering: None,
)
