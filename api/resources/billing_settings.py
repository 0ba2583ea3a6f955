"""A tenant's billing settings: who sells, as its documents say it, and how its invoices are made and numbered."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Clearable, Kept, Partial
from api.http.fields import Body, Line, Locale, LongText, TimeZone
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.http.validation import form
from api.resources.personal_data import Email
from domain.identity.permissions import Permission
from domain.identity.tenant import TenantNotFound
from domain.invoicing.billing_settings import (
    MAX_ADDRESS_LINES,
    MAX_DAYS_UNTIL_DUE,
    MAX_GRACE_S,
    BillingSettings,
    ChangeBillingSettings,
    Seller,
)
from domain.invoicing.billing_settings import billing_settings as decided
from domain.invoicing.number_series import (
    FORMAT_PATTERN,
    MAX_DIGITS,
    MAX_SERIES,
    PREFIX_PATTERN,
    SERIES_NAME_PATTERN,
    InvalidNumberSeries,
    NumberSeries,
    NumberSeriesImported,
    NumberSeriesKept,
    NumberSeriesOverlap,
    UnknownNumberSeries,
)
from domain.kernel.billing_period import UnknownTimeZone
from domain.kernel.unchanged import Unchanged
from projections.billing_settings import billing_settings

_PATH: Final = "/v1/tenants/{tenant}/billing-settings"


SeriesName: TypeAlias = Annotated[
    str,
    form(SERIES_NAME_PATTERN, "Must be 1 to 12 capital letters and digits, a letter first", max_length=12),
    Field(examples=["INV"]),
]


class SellerBody(Body):
    """A seller as documents print it: with the country of the tax settings. The tax id and the footer are texts of your
    own: `VAT ID DE123456789`.
    """

    name: Line
    address: Annotated[tuple[Line, ...], Field(max_length=MAX_ADDRESS_LINES)] = ()
    email: Email | None = None
    tax_id: Line | None = None
    footer: LongText | None = None

    @property
    def value(self) -> Seller:
        """As a command takes it."""
        return Seller(
            name=self.name,
            address=self.address,
            email=self.email,
            tax_id=self.tax_id,
            footer=self.footer,
        )


class NumberSeriesBody(Body):
    """One count of numbers. `format` is `{prefix}{number}`, or `{prefix}{year}-{number}`, whose count begins anew each
    year; a number has at least `digits` digits.
    """

    name: SeriesName
    prefix: Annotated[str, form(PREFIX_PATTERN, "Must be letters, digits, and . _ / - behind the first", max_length=20)]
    format: Annotated[
        str, form(FORMAT_PATTERN, "Must be {prefix}{number} or {prefix}{year}-{number}", max_length=32)
    ] = "{prefix}{number}"
    digits: Annotated[int, Field(ge=1, le=MAX_DIGITS)] = 6

    @property
    def value(self) -> NumberSeries:
        """As a command takes it."""
        return NumberSeries(name=self.name, prefix=self.prefix, format=self.format, digits=self.digits)


class BillingSettingsChange(Partial):
    """What is to change. The seller is replaced as a whole; null: documents name the tenant. So are the series, among
    which each stays that was ever made.
    """

    seller: Clearable[SellerBody]
    locale: Kept[Locale]
    time_zone: Kept[TimeZone]
    grace_seconds: Kept[Annotated[int, Field(ge=0, le=MAX_GRACE_S)]]
    days_until_due: Kept[Annotated[int, Field(ge=0, le=MAX_DAYS_UNTIL_DUE)]]
    memo: Clearable[LongText]
    number_series: Kept[Annotated[tuple[NumberSeriesBody, ...], Field(min_length=1, max_length=MAX_SERIES)]]
    invoice_series: Kept[SeriesName]


class SellerResource(TypedDict):
    """Who sells."""

    name: str
    address: list[str]
    email: str | None
    tax_id: str | None
    footer: str | None


class NumberSeriesResource(TypedDict):
    """One count of numbers."""

    name: str
    prefix: str
    format: str
    digits: int


class BillingSettingsResource(TypedDict):
    """A tenant's billing settings. `locale` is that of documents for customers who have none of their own; by
    `time_zone`, the seller's, the years of numbers begin. `days_until_due`, `memo` and `invoice_series` are those of
    invoices that do not say so themselves. What a subscription bills waits `grace_seconds` as a draft; 0: it is
    finalized at once.
    """

    object: Literal["billing_settings"]
    tenant: str
    seller: SellerResource | None
    locale: str
    time_zone: str
    grace_seconds: int
    days_until_due: int
    memo: str | None
    number_series: list[NumberSeriesResource]
    invoice_series: str


_SELLER: Final = {
    "name": "Example GmbH",
    "address": ["Musterstraße 1", "10115 Berlin"],
    "email": "billing@example.com",
    "tax_id": "USt-IdNr. DE123456789",
    "footer": "Geschäftsführung: Ada Lovelace · HRB 12345",
}
_EXAMPLE: Final[dict[str, object]] = {
    "object": "billing_settings",
    "tenant": "acme",
    "seller": _SELLER,
    "locale": "de-DE",
    "time_zone": "Europe/Berlin",
    "grace_seconds": 3600,
    "days_until_due": 14,
    "memo": "Thank you for your order.",
    "number_series": [
        {"name": "INV", "prefix": "R", "format": "{prefix}{year}-{number}", "digits": 4},
        {"name": "CN", "prefix": "CN-", "format": "{prefix}{number}", "digits": 6},
    ],
    "invoice_series": "INV",
}

SETTINGS: Final = Operations(
    tag="billing settings",
    about="Who sells, as documents say it, and how invoices are made and numbered.",
    seen_with=Permission.BILLING_SETTINGS_READ,
    changed_with=Permission.BILLING_SETTINGS_WRITE,
)


@SETTINGS.command(
    "PATCH",
    _PATH,
    body=BillingSettingsChange,
    body_example={"seller": _SELLER, "locale": "de-DE"},
    answers=BillingSettingsResource,
    example=_EXAMPLE,
    refusals=(
        TenantNotFound,
        UnknownTimeZone,
        NumberSeriesKept,
        NumberSeriesOverlap,
        NumberSeriesImported,
        InvalidNumberSeries,
        UnknownNumberSeries,
    ),
)
async def change_billing_settings(call: Call, body: BillingSettingsChange) -> Intention:
    """Change who sells, and how invoices are made and numbered.

    What is changed holds from then on: an invoice keeps the seller that these settings named when it was finalized, a
    draft and a subscription the terms that they were made with. Numbers stay gapless in their count: a series whose
    prefix is changed counts on, and the prefix that it had is never another's. A format with the year counts from 1 in
    each year of the seller's time zone.
    """
    tenant_id = _own(call)
    series = body.number_series
    command = ChangeBillingSettings(
        seller=body.seller.value if isinstance(body.seller, SellerBody) else body.seller,
        locale=body.locale,
        time_zone=body.time_zone,
        grace_s=body.grace_seconds,
        days_until_due=body.days_until_due,
        memo=body.memo,
        number_series=series if isinstance(series, Unchanged) else tuple(each.value for each in series),
        invoice_series=body.invoice_series,
    )
    return Intention(command=command, render=lambda streams: _resource(tenant_id, decided(streams)))


@SETTINGS.query(
    _PATH, answers=BillingSettingsResource, example=_EXAMPLE, parameters=NoParameters, refusals=(TenantNotFound,)
)
async def get_billing_settings(call: Call, _asked: NoParameters) -> BillingSettingsResource:
    """Get who sells, and how invoices are made and numbered."""
    tenant_id = _own(call)
    async with call.reading() as connection:
        return _resource(tenant_id, await billing_settings(connection, tenant_id))


def _own(call: Call) -> str:
    """The tenant in the path, which is the one that is asked in: another's is not there."""
    tenant_id = call.path["tenant"]
    if tenant_id != call.tenant_id:
        raise TenantNotFound(tenant=tenant_id)
    return tenant_id


def _resource(tenant_id: str, settings: BillingSettings) -> BillingSettingsResource:
    seller = settings.seller
    shown: SellerResource | None = None
    if seller is not None:
        shown = {
            "name": seller.name,
            "address": list(seller.address),
            "email": seller.email,
            "tax_id": seller.tax_id,
            "footer": seller.footer,
        }
    return {
        "object": "billing_settings",
        "tenant": tenant_id,
        "seller": shown,
        "locale": settings.locale,
        "time_zone": settings.time_zone,
        "grace_seconds": settings.grace_s,
        "days_until_due": settings.days_until_due,
        "memo": settings.memo,
        "number_series": [
            {"name": each.name, "prefix": each.prefix, "format": each.format, "digits": each.digits}
            for each in settings.number_series
        ],
        "invoice_series": settings.invoice_series,
    }
