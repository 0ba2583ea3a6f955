"""Customers: who is billed, in which currency and time zone, and how they pay."""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Clearable, Kept
from api.http.fields import (
    Currency,
    CustomerId,
    ExternalId,
    Locale,
    MoneyResource,
    New,
    NoBody,
    PaymentMethodId,
    TestClockId,
    TimeZone,
    money,
)
from api.http.listing import (
    CreatedParameters,
    NoParameters,
)
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.personal_data import (
    PersonalFields,
    PersonalResource,
    check_region,
    known_of,
    personal_resource,
    seal,
    tax_location,
    vat_id_country,
    with_given,
)
from api.resources.tax_fields import TaxLocationResource, tax_location_resource
from domain.customers.customer import (
    CUSTOMER,
    CreateCustomer,
    Customer,
    CustomerIsDeleted,
    CustomerIsUnsettled,
    CustomerNotFound,
    DeleteCustomer,
    EraseCustomer,
    SetDefaultPaymentMethod,
    UpdateCustomer,
)
from domain.customers.payment_method import PaymentMethodIsDetached, PaymentMethodNotFound
from domain.customers.test_clock import TestClockIsDeleted, TestClockNotFound
from domain.identity.permissions import Permission
from domain.kernel.billing_period import UnknownTimeZone
from domain.kernel.identifiers import CUSTOMER as PREFIX
from domain.kernel.refusal import ExternalIdTaken
from domain.kernel.stream import Streams
from infra.commitments import Person
from infra.ids import new_id
from projections.models import account_balances
from projections.models import customers as read
from projections.read_model import Projection
from projections.reading import Reader
from projections.stream_rows import Found

_ID: Final = "cus_01m7ywe9z7e398x54gfbrtqnk7"


TaxExempt: TypeAlias = Annotated[bool, Field(description="Whether the customer is charged no tax, wherever they are.")]


class NewCustomer(New, PersonalFields):
    """A customer to be. Personal fields are kept apart from the log, and can be erased."""

    external_id: ExternalId | None = None
    currency: Currency
    time_zone: TimeZone = "UTC"
    locale: Locale | None = None
    tax_exempt: TaxExempt = False
    test_clock: TestClockId | None = None


class CustomerChange(Change, PersonalFields):
    """What is to change of a customer. Metadata and `tax_exempt` are the merchant's to say, and need
    `customers:create`.
    """

    reserved = MappingProxyType({"metadata": Permission.CUSTOMERS_CREATE, "tax_exempt": Permission.CUSTOMERS_CREATE})

    time_zone: Kept[TimeZone]
    locale: Clearable[Locale]
    tax_exempt: Kept[TaxExempt]


class DefaultPaymentMethod(NoBody):
    """The payment method that invoices are collected with; null collects none automatically."""

    payment_method: PaymentMethodId | None


class CustomerDeletion(NoBody):
    """Whether what is owed to them, and what waits to be billed, is to stay as it is."""

    leave_unsettled: bool = False


class CustomerFilters(CreatedParameters):
    """Which customers."""

    external_id: ExternalId | None = None
    currency: Currency | None = None
    test_clock: TestClockId | None = None


class BalanceResource(TypedDict):
    """What a customer owes us, and what we owe them: per currency, empty where it comes to nothing.

    `owed` is what is due on open invoices. `customer_balance` is their cash that belongs to no invoice,
    `refunds_payable` what is on its way back to them, `prepaid` what is left of prepaid wallets and granted credits.
    """

    object: Literal["balance"]
    customer: str
    owed: list[MoneyResource]
    customer_balance: list[MoneyResource]
    refunds_payable: list[MoneyResource]
    prepaid: list[MoneyResource]


class CustomerResource(PersonalResource):
    """A customer. `balance` is what their next invoices draw on: what they paid above invoices, and invoices of less
    than nothing. What a payment without an invoice captured is not in it: it can be refunded.
    """

    id: CustomerId
    object: Literal["customer"]
    external_id: str | None
    currency: str
    time_zone: str
    locale: str | None
    tax_location: TaxLocationResource | None
    tax_exempt: bool
    vat_id_country: Annotated[
        str | None, Field(description="The country of the European VAT id that was found to be well-formed.")
    ]
    default_payment_method: str | None
    balance: MoneyResource
    discounts: Annotated[list[str], Field(description="Those of everything that they are billed.")]
    test_clock: str | None
    created: datetime
    deleted_at: datetime | None
    erased_at: datetime | None


def customer_resource(customer: Customer, person: Person | None) -> CustomerResource:
    """A customer as it is answered; nothing personal is left of one who was erased."""
    return {
        "id": customer.customer_id,
        "object": "customer",
        "external_id": customer.external_id,
        "currency": customer.currency,
        "time_zone": customer.time_zone,
        "locale": customer.locale,
        "tax_location": None if customer.tax_location is None else tax_location_resource(customer.tax_location),
        "tax_exempt": customer.tax_exempt,
        "vat_id_country": customer.vat_id_country,
        "default_payment_method": customer.default_payment_method_id,
        "balance": money(customer.balance),
        "discounts": [each.discount_id for each in customer.discounts if each.removed_at is None],
        "test_clock": customer.test_clock_id,
        "created": customer.created_at,
        "deleted_at": customer.deleted_at,
        "erased_at": customer.erased_at,
        **personal_resource(None if customer.personal is None else person),
    }


def _decided(streams: Streams, customer_id: str, person: Person | None) -> CustomerResource:
    return customer_resource(CUSTOMER.of(streams, customer_id), person)


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "customer",
    "external_id": "crm-4711",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "locale": "de-DE",
    "tax_location": None,
    "tax_exempt": False,
    "vat_id_country": None,
    "default_payment_method": None,
    "balance": {"amount": 0, "currency": "EUR"},
    "discounts": [],
    "test_clock": None,
    "created": "2026-01-01T00:00:00Z",
    "deleted_at": None,
    "erased_at": None,
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": None,
    "address": None,
    "tax_ids": [],
    "metadata": {"segment": "smb"},
}


async def customer_resources(
    call: Call, connection: Reader, customers: Sequence[Found[Customer]]
) -> list[CustomerResource]:
    """Customers with what the vault still has of them."""
    known = await read.with_person(connection, call.parts.vault, call.tenant_id, customers)
    return [customer_resource(found.state, person) for found, person in known]


CUSTOMERS: Final = Resource(
    tag="customers",
    about="Who is billed.",
    stream=CUSTOMER,
    table=read.TABLE,
    path="/v1/customers",
    prefix=PREFIX,
    seen_with=Permission.CUSTOMERS_READ,
    changed_with=Permission.CUSTOMERS_WRITE,
    shows=CustomerResource,
    render=lambda customer: customer_resource(customer, None),
    show=customer_resources,
    example=EXAMPLE,
    filters=CustomerFilters,
)


@CUSTOMERS.creates(
    body=NewCustomer,
    needs=Permission.CUSTOMERS_CREATE,
    body_example={
        "external_id": "crm-4711",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "locale": "de-DE",
        "metadata": {"segment": "smb"},
    },
    refusals=(ExternalIdTaken, UnknownTimeZone, TestClockNotFound, TestClockIsDeleted),
)
async def create_customer(call: Call, body: NewCustomer) -> Intention:
    """Create a customer.

    The currency and the external id are kept for ever; an external id belongs to one living customer. Do not put
    personal data into the external id: it is part of the log, which cannot forget.
    """
    customer_id = new_id(PREFIX)
    await check_region(call, body.given())
    person = with_given({}, body.given())
    sealed = seal(call, customer_id, person, None) if person else None
    return Intention(
        command=CreateCustomer(
            customer_id=customer_id,
            external_id=body.external_id,
            currency=body.currency,
            time_zone=body.time_zone,
            locale=body.locale,
            test_clock_id=body.test_clock,
            personal=None if sealed is None else sealed.reference,
            tax_location=tax_location(person),
            vat_id_country=vat_id_country(person),
            tax_exempt=body.tax_exempt,
        ),
        render=lambda streams: _decided(streams, customer_id, person),
        location=f"/v1/customers/{customer_id}",
        seals=None if sealed is None else sealed.rows,
        answer_key=None if sealed is None else sealed.key,
    )


@CUSTOMERS.changes(
    "PATCH",
    body=CustomerChange,
    body_example={"email": "countess@example.com"},
    example={"email": "countess@example.com"},
    refusals=(CustomerIsDeleted, TestClockIsDeleted, UnknownTimeZone),
)
async def update_customer(call: Call, body: CustomerChange) -> Intention:
    """Change a customer.

    What the body leaves out stays as it is, each key of the metadata too; null clears a personal field. An address and
    tax ids are replaced as a whole.
    """
    customer_id = CUSTOMERS.id_of(call)
    known = await known_of(call, customer_id)
    given = body.given()
    await check_region(call, given)
    person = with_given(known.person, given)
    sealed = seal(call, customer_id, person, known.key) if given else None
    return Intention(
        command=UpdateCustomer(
            customer_id=customer_id,
            time_zone=body.time_zone,
            locale=body.locale,
            personal=None if sealed is None else sealed.reference,
            tax_location=tax_location(person),
            vat_id_country=vat_id_country(person),
            tax_exempt=body.tax_exempt,
            based_on=known.reference,
        ),
        render=lambda streams: _decided(streams, customer_id, person),
        seals=None if sealed is None else sealed.rows,
        answer_key=known.key if sealed is None else sealed.key,
    )


@CUSTOMERS.changes(
    "POST",
    "default-payment-method",
    body=DefaultPaymentMethod,
    body_example={"payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    example={"default_payment_method": "pm_01m7ywe9z7e398x54gfbrtqnk7"},
    refusals=(CustomerIsDeleted, TestClockIsDeleted, PaymentMethodNotFound, PaymentMethodIsDetached),
)
async def set_default_payment_method(call: Call, body: DefaultPaymentMethod) -> Intention:
    """Choose the payment method that a customer's invoices are collected with."""
    customer_id = CUSTOMERS.id_of(call)
    known = await known_of(call, customer_id)
    return Intention(
        command=SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=body.payment_method),
        render=lambda streams: _decided(streams, customer_id, known.person),
        answer_key=known.key,
    )


@CUSTOMERS.changes(
    "DELETE",
    body=CustomerDeletion,
    body_example={"leave_unsettled": True},
    example={"deleted_at": "2026-02-01T00:00:00Z"},
    refusals=(CustomerIsUnsettled,),
)
async def delete_customer(call: Call, body: CustomerDeletion) -> Intention:
    """Delete a customer.

    No new business; subscriptions end with their period, and what was billed can still be paid. One whose balance is
    owed to them, or for whom items wait to be billed, is deleted with `leave_unsettled` alone: the balance stays theirs
    and can be paid out, the items stay unbilled.
    """
    customer_id = CUSTOMERS.id_of(call)
    known = await known_of(call, customer_id)
    return Intention(
        command=DeleteCustomer(customer_id=customer_id, leaves_unsettled=body.leave_unsettled),
        render=lambda streams: _decided(streams, customer_id, known.person),
        answer_key=known.key,
    )


@CUSTOMERS.changes(
    "POST",
    "erase",
    body=NoBody,
    needs=Permission.CUSTOMERS_ERASE,
    example={
        "name": None,
        "email": None,
        "metadata": {},
        "deleted_at": "2026-02-01T00:00:00Z",
        "erased_at": "2026-02-01T00:00:00Z",
    },
)
async def erase_customer(call: Call, _body: NoBody) -> Intention:
    """Erase a customer's personal data for good.

    The key that it is sealed with is destroyed: log, read models, stored answers and dead letters hold nothing to read
    any more, and every figure still adds up. Deletes the customer, too.
    """
    customer_id = CUSTOMERS.id_of(call)
    return Intention(
        command=EraseCustomer(customer_id=customer_id),
        render=lambda streams: _decided(streams, customer_id, None),
        erases=customer_id,
    )


@CUSTOMERS.query(
    "/v1/customers/{customer_id}/balance",
    answers=BalanceResource,
    example={
        "object": "balance",
        "customer": _ID,
        "owed": [{"amount": 4900, "currency": "EUR"}],
        "customer_balance": [{"amount": 1200, "currency": "EUR"}],
        "refunds_payable": [],
        "prepaid": [],
    },
    parameters=NoParameters,
    refusals=(CustomerNotFound,),
    reads=(Projection.LEDGER, Projection.BILLING),
)
async def get_customer_balance(call: Call, _asked: NoParameters) -> BalanceResource:
    """Show what a customer owes, and what is owed to them.

    All of it is of one moment, and is what the customer's control accounts hold (`/v1/customers/{id}/accounts`).
    """
    wanted = CUSTOMERS.id_of(call)
    async with call.reading() as connection:
        await CUSTOMERS.row(call, connection, wanted)
        found = await account_balances.customer_balance(connection, call.tenant_id, wanted)
    return {
        "object": "balance",
        "customer": wanted,
        "owed": [money(amount) for amount in found.owed],
        "customer_balance": [money(amount) for amount in found.customer_balance],
        "refunds_payable": [money(amount) for amount in found.refunds_payable],
        "prepaid": [money(amount) for amount in found.prepaid],
    }
