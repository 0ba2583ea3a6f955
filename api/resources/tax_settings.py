"""A tenant's tax settings: where it is established, whether its prices include tax, and who computes its taxes."""

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Kept, Partial
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.http.problems import TAX_SERVICE_NOT_CONFIGURED, Problem
from api.resources.personal_data import Country
from domain.customers.tax_location import InvalidTaxLocation
from domain.identity.permissions import Permission
from domain.identity.tenant import TenantNotFound
from domain.tax.remote import TaxCalculator
from domain.tax.settings import NOTHING_SAID, ChangeTaxSettings, TaxSettings, TaxSettingsChanged, tax_settings
from schemas.codec import default_codec

_PATH: Final = "/v1/tenants/{tenant}/tax-settings"
_NEWEST: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'tax_settings' AND stream_id = 'tax' AND event_type = 'tax_settings.changed'
ORDER BY stream_version DESC LIMIT 1
"""


class TaxSettingsChange(Partial):
    """What is to change."""

    seller_country: Annotated[
        Kept[Country], Field(description="Where you are established: decides on the reverse charge within the EU.")
    ]
    prices_include_tax: Annotated[
        Kept[bool], Field(description="For prices and invoice lines that do not say so themselves, from now on.")
    ]
    tax_calculator: Annotated[
        Kept[TaxCalculator],
        Field(description="Who computes the tax of invoices that become final from now on: `table` or `remote`."),
    ]


class TaxSettingsResource(TypedDict):
    """Where the tenant is established, null until it is said, whether prices include tax unless they say so, and who
    computes the tax that is owed: the table of rates, or the tax service (`remote`).
    """

    object: Literal["tax_settings"]
    tenant: str
    seller_country: str | None
    prices_include_tax: bool
    tax_calculator: TaxCalculator


_EXAMPLE: Final[dict[str, object]] = {
    "object": "tax_settings",
    "tenant": "acme",
    "seller_country": "DE",
    "prices_include_tax": False,
    "tax_calculator": "table",
}

SETTINGS: Final = Operations(
    tag="tax settings",
    about="Where a tenant is established, whether its prices include tax, and who computes its taxes.",
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
)


@SETTINGS.command(
    "PATCH",
    _PATH,
    body=TaxSettingsChange,
    body_example={"seller_country": "DE", "prices_include_tax": False},
    answers=TaxSettingsResource,
    example=_EXAMPLE,
    refusals=(TenantNotFound, InvalidTaxLocation),
    problems=(TAX_SERVICE_NOT_CONFIGURED,),
)
async def change_tax_settings(call: Call, body: TaxSettingsChange) -> Intention:
    """Say where you are established, whether your prices include tax, and who computes your taxes.

    It holds for invoices that are finalized from now on, and for prices that are subscribed to from now on; a running
    subscription keeps what it was sold with. With `tax_calculator` `remote` an invoice that becomes final is a draft
    first which waits for its tax (`waiting_for`), and is finalized once the tax service has answered.
    """
    tenant_id = _own(call)
    if body.tax_calculator is TaxCalculator.REMOTE and call.parts.tax_service is None:
        raise Problem(TAX_SERVICE_NOT_CONFIGURED)
    command = ChangeTaxSettings(
        seller_country=body.seller_country,
        prices_include_tax=body.prices_include_tax,
        calculator=body.tax_calculator,
    )
    return Intention(command=command, render=lambda streams: _resource(tenant_id, tax_settings(streams)))


@SETTINGS.query(
    _PATH, answers=TaxSettingsResource, example=_EXAMPLE, parameters=NoParameters, refusals=(TenantNotFound,)
)
async def get_tax_settings(call: Call, _asked: NoParameters) -> TaxSettingsResource:
    """Get where you are established, whether your prices include tax, and who computes your taxes."""
    tenant_id = _own(call)
    async with call.reading() as connection:
        payload = await connection.fetchval(_NEWEST, tenant_id)
    if payload is None:
        return _resource(tenant_id, NOTHING_SAID)
    event = default_codec().decode_event(payload)
    assert isinstance(event, TaxSettingsChanged), "that is the type that was asked for"
    return _resource(tenant_id, event)


def _own(call: Call) -> str:
    """The tenant in the path, which is the one that is asked in: another's is not there."""
    tenant_id = call.path["tenant"]
    if tenant_id != call.tenant_id:
        raise TenantNotFound(tenant=tenant_id)
    return tenant_id


def _resource(tenant_id: str, settings: TaxSettings | TaxSettingsChanged) -> TaxSettingsResource:
    return {
        "object": "tax_settings",
        "tenant": tenant_id,
        "seller_country": settings.seller_country,
        "prices_include_tax": settings.prices_include_tax,
        "tax_calculator": settings.calculator,
    }
