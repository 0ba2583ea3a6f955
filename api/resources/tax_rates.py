"""Tax rates: which percentage is due where, on what, and from which date on. What a rate says is never changed."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Day, New, NoBody, Percent, TaxRateId, plain_decimal
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import Part, Resource
from api.resources.personal_data import Country
from api.resources.tax_fields import PostalPrefix, TaxCategory, TaxKind, TaxRegion
from domain.customers.tax_location import InvalidTaxLocation
from domain.identity.permissions import Permission
from domain.kernel.identifiers import TAX_RATE as PREFIX
from domain.kernel.stream import Command, Streams
from domain.tax.computation import TaxRate
from domain.tax.settings import (
    RATE_CLAIM,
    TAX_SETTINGS,
    ArchiveTaxRate,
    CreateTaxRate,
    InvalidTaxRate,
    ListedTaxRate,
    TaxRateInUse,
    TaxRateIsTaken,
    TaxRateNotFound,
    TooManyTaxRates,
    tax_settings,
)
from infra.ids import new_id
from projections.models import tax_rates as read
from projections.reading import Reader
from projections.stream_rows import Found

_ID: Final = "txr_01m7ywe9z7e398x54gfbrtqnk7"


class NewTaxRate(New):
    """A rate to be. Without a region or a postal prefix it holds in the whole country, without a category for all."""

    country: Country
    region: TaxRegion | None = None
    postal_prefix: PostalPrefix | None = None
    category: TaxCategory | None = None
    kind: TaxKind = "vat"
    percent: Percent
    valid_from: Annotated[Day, Field(description="The first day, by the customer's calendar, on which it holds.")]


class TaxRateFilters(CreatedParameters):
    """Which rates."""

    country: Country | None = None


class TaxRateResource(TypedDict):
    """A rate: `percent` of the net amount. An archived one is in no invoice that is finalized from then on."""

    id: TaxRateId
    object: Literal["tax_rate"]
    kind: str
    percent: str
    country: str
    region: str | None
    postal_prefix: str | None
    category: str | None
    valid_from: date
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None


def tax_rate_resource(rate: ListedTaxRate) -> TaxRateResource:
    """A rate as it is answered."""
    return {
        "id": rate.rate_id,
        "object": "tax_rate",
        "kind": rate.kind,
        "percent": plain_decimal(rate.percent),
        "country": rate.country,
        "region": rate.region,
        "postal_prefix": rate.postal_prefix,
        "category": rate.category,
        "valid_from": rate.valid_from,
        "active": rate.archived_at is None,
        "metadata": dict(rate.metadata),
        "created": rate.created_at,
        "archived_at": rate.archived_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "tax_rate",
    "kind": "vat",
    "percent": "19",
    "country": "DE",
    "region": None,
    "postal_prefix": None,
    "category": None,
    "valid_from": "2026-01-01",
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
}


async def _shown(_call: Call, _connection: Reader, found: Sequence[Found[ListedTaxRate]]) -> list[TaxRateResource]:
    return [tax_rate_resource(each.state) for each in found]


TAX_RATES: Final[Resource[Any]] = Resource(
    tag="tax rates",
    about="Which percentage is due where, on what, and from when on.",
    stream=TAX_SETTINGS,
    part=Part("tax_rate", claim=RATE_CLAIM, not_found=TaxRateNotFound),
    table=read.TABLE,
    path="/v1/tax-rates",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=TaxRateResource,
    show=_shown,
    example=EXAMPLE,
    filters=TaxRateFilters,
)


def _intention(command: Command, rate_id: str) -> Intention:
    def render(streams: Streams) -> object:
        return tax_rate_resource(tax_settings(streams).rate_of(rate_id))

    return Intention(command=command, render=render)


@TAX_RATES.creates(
    body=NewTaxRate,
    body_example={"country": "DE", "percent": "19", "valid_from": "2026-01-01"},
    refusals=(InvalidTaxRate, InvalidTaxLocation, TaxRateIsTaken, TooManyTaxRates),
)
async def create_tax_rate(_call: Call, body: NewTaxRate) -> Intention:
    """Create a tax rate.

    It holds from its date on, until a later rate of the same place, category and kind replaces it: so a change of a
    rate is a new one, made ahead. Of one kind the rate with the longest postal prefix holds, else the region's, else
    the country's; there the category's own before the general one. Rates of several kinds are all due.
    """
    rate_id = new_id(PREFIX)
    rate = TaxRate(
        rate_id=rate_id,
        percent=body.percent,
        country=body.country,
        valid_from=body.valid_from,
        kind=body.kind,
        region=body.region,
        postal_prefix=body.postal_prefix,
        category=body.category,
    )
    made = _intention(CreateTaxRate(rate=rate, metadata=body.kept), rate_id)
    return made._replace(location=f"/v1/tax-rates/{rate_id}")


@TAX_RATES.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
    refusals=(TaxRateInUse,),
)
async def archive_tax_rate(call: Call, _body: NoBody) -> Intention:
    """Take a rate out of the table.

    No invoice that is finalized from now on bears it, whatever its date; those that do keep it. To end a rate on a
    date, create one of 0 % for the same from that date on.
    """
    rate_id = TAX_RATES.id_of(call)
    return _intention(ArchiveTaxRate(rate_id=rate_id), rate_id)
