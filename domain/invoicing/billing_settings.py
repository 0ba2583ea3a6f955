"""A tenant's billing settings: who sells, as its documents say it, and how its invoices are made unless they say so.

All of it is one stream. What is changed holds for what is decided from then on, by the order of the log: an invoice
keeps the seller of its finalization, a draft and a subscription the terms that they were made with.
"""

from dataclasses import dataclass
from typing import Final

from domain.customers.locales import DEFAULT_LOCALE
from domain.invoicing.number_series import (
    CREDIT_NOTES,
    INVOICES,
    PREFIX_CLAIM,
    SERIES_AT_FIRST,
    NumberSeries,
    NumberSeriesImported,
    UnknownNumberSeries,
    prefix_held,
)
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Free, Stream, Streams, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged

BILLING_SETTINGS_ID: Final = "billing"
"""The id of the one stream that each tenant has."""

MAX_ADDRESS_LINES: Final = 6
MAX_GRACE_S: Final = 30 * 24 * 60 * 60
"""How long a draft of a renewal may wait to be finalized (s)."""

DEFAULT_DAYS_UNTIL_DUE: Final = 30
MAX_DAYS_UNTIL_DUE: Final = 365
MAX_MEMO_CHARACTERS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Who sells: a business, whose name the law wants on each invoice. `address` is its lines, without the country,
    which the tax settings say; `tax_id` and `footer` are texts as they are to be printed.
    """

    name: str
    address: tuple[str, ...] = ()
    email: str | None = None
    tax_id: str | None = None
    footer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBillingSettings:
    """Seller and series are replaced as a whole; no seller (None): invoices name the tenant."""

    seller: Seller | Unchanged | None = UNCHANGED
    locale: str | Unchanged = UNCHANGED
    time_zone: str | Unchanged = UNCHANGED
    grace_s: int | Unchanged = UNCHANGED
    days_until_due: int | Unchanged = UNCHANGED
    memo: str | Unchanged | None = UNCHANGED
    number_series: tuple[NumberSeries, ...] | Unchanged = UNCHANGED
    invoice_series: str | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettingsChanged:
    """The settings as they are from now on."""

    settings_id: str
    seller: Seller | None
    locale: str
    time_zone: str
    grace_s: int
    days_until_due: int
    memo: str | None
    number_series: tuple[NumberSeries, ...]
    invoice_series: str


class InvalidSeller(Refusal):
    """A seller has a name, and at most 6 lines of address."""

    code = "invalid_seller"
    kind = RefusalKind.INVALID
    param = "seller"


class InvalidInvoiceTerms(Refusal):
    """A draft waits 0 to 2,592,000 seconds, an invoice is due in 0 to 365 days, a memo has at most 1,000 characters."""

    code = "invalid_invoice_terms"
    kind = RefusalKind.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings:
    """`locale` is that of documents for customers who have none of their own; `time_zone` is the seller's: by it the
    years of numbers begin.

    `grace_s` is how long the draft of a renewal waits before it is finalized (0: it is finalized at once);
    `days_until_due`, `memo` and `invoice_series` are those of invoices that do not say so themselves.
    """

    settings_id: str
    seller: Seller | None
    locale: str
    time_zone: str
    grace_s: int
    days_until_due: int
    memo: str | None
    number_series: tuple[NumberSeries, ...]
    invoice_series: str

    def series_of_invoices(self, name: str) -> NumberSeries:
        """One that invoices may be numbered in: credit notes have one of their own. Raises UnknownNumberSeries."""
        if name == CREDIT_NOTES.name:
            raise UnknownNumberSeries(series=name)
        return self.series_named(name)

    def series_named(self, name: str) -> NumberSeries:
        """Raises UnknownNumberSeries."""
        for series in self.number_series:
            if series.name == name:
                return series
        raise UnknownNumberSeries(series=name[:64])


AT_FIRST: Final = BillingSettings(
    settings_id=BILLING_SETTINGS_ID,
    seller=None,
    locale=DEFAULT_LOCALE,
    time_zone="UTC",
    grace_s=0,
    days_until_due=DEFAULT_DAYS_UNTIL_DUE,
    memo=None,
    number_series=SERIES_AT_FIRST,
    invoice_series=INVOICES.name,
)
"""What holds until something is set."""


def billing_settings(streams: Streams) -> BillingSettings:
    """What the tenant has set by now."""
    return streams.get(BILLING_SETTINGS, BILLING_SETTINGS_ID) or AT_FIRST


def check_seller(seller: Seller | None) -> None:
    """Raises InvalidSeller."""
    if seller is not None and (not seller.name or len(seller.address) > MAX_ADDRESS_LINES):
        raise InvalidSeller(name=seller.name, lines=len(seller.address))


def check_days_until_due(days: int) -> None:
    """Raises InvalidInvoiceTerms."""
    if not 0 <= days <= MAX_DAYS_UNTIL_DUE:
        raise InvalidInvoiceTerms(days_until_due=days).at("days_until_due")


def check_memo(memo: str | None) -> None:
    """Raises InvalidInvoiceTerms."""
    if memo is not None and len(memo) > MAX_MEMO_CHARACTERS:
        raise InvalidInvoiceTerms(characters=len(memo)).at("memo")


def evolve(settings: BillingSettings | None, event: BillingSettingsChanged) -> BillingSettings:
    return BillingSettings(
        settings_id=event.settings_id,
        seller=event.seller,
        locale=event.locale,
        time_zone=event.time_zone,
        grace_s=event.grace_s,
        days_until_due=event.days_until_due,
        memo=event.memo,
        number_series=event.number_series,
        invoice_series=event.invoice_series,
    )


def claims(event: BillingSettingsChanged, settings: BillingSettings) -> tuple[Claim, ...]:
    """The prefixes of its series are theirs, and those that they had are anybody's again."""
    former = [prefix for series in event.number_series for prefix in series.former_prefixes]
    held = [series.prefix for series in event.number_series]
    return (
        *(Free(PREFIX_CLAIM, prefix, BILLING_SETTINGS_ID) for prefix in former),
        *(claim for prefix in held for claim in prefix_held(prefix, BILLING_SETTINGS_ID, NumberSeriesImported)),
    )


EVENTS: dict[str, type] = {"billing_settings.changed": BillingSettingsChanged}

BILLING_SETTINGS: Stream[BillingSettings] = Stream(
    name="billing_settings",
    id_field="settings_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda settings: None,
    claims=claims,
)
