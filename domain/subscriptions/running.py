"""What runs of a subscription, and what has paid for it: for changes in the middle of it."""

from dataclasses import dataclass
from datetime import datetime

from domain.invoicing.usage_line import UsageSlice
from domain.kernel.billing_period import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerPeriod:
    """[start, end) of the items whose interval is this one, which is longer than the subscription's; `is_short` if it
    began within a period of the schedule.
    """

    interval: Interval
    start: datetime
    end: datetime
    is_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """From where periods are counted: the one of this index begins at `at`."""

    at: datetime
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunPeriod:
    """With which of the subscription's periods the running one of this interval (None: its own) began, and what billed
    it then.
    """

    interval: Interval | None
    index: int
    invoice_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRef:
    """A line of an invoice; of the invoice that is still to come where `invoice_id` is None."""

    invoice_id: str | None
    line_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPaid:
    """What pays the running period of an item that was changed in the middle of it. Of any other item it is the line
    that billed the period when it began.
    """

    price_id: str
    lines: tuple[LineRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBilled:
    """A meter whose usage it bills, or has billed, and the last invoice that does; None: none has so far."""

    meter_id: str
    invoice_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFrom:
    """An item in arrears that came in the middle of its period: what of that is owed for it begins here."""

    price_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBilledSoFar:
    """What lines billed of the usage of an item's period, which begins at `since`, before that is over."""

    price_id: str
    since: datetime
    slices: tuple[UsageSlice, ...]
