"""A customer: who is billed, in which currency and time zone, and how they pay.

Names, addresses and e-mails never enter the log: an event carries a reference into the vault and a salted commitment
to what stands there. After an erasure both lead nowhere, and every figure still adds up.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers import balance as balances
from domain.customers import consolidation, waiting_items
from domain.customers import discounts as discounts_of
from domain.customers.balance import CustomerBalanceCredited, CustomerBalanceDrawn, CustomerBalanceEvent
from domain.customers.consolidation import ConsolidationEvent, CustomerBilledApart, CustomerBilledTogether
from domain.customers.discounts import (
    BorneDiscount,
    CustomerDiscountAttached,
    CustomerDiscountEnded,
    CustomerDiscountEvent,
)
from domain.customers.tax_location import TaxLocation
from domain.customers.test_clock import business_time, in_use
from domain.customers.waiting_items import (
    CustomerItemAdded,
    CustomerItemRemoved,
    CustomerItemsBilled,
    WaitingItem,
    WaitingItemEvent,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.kernel.personal_reference import PersonalReference
from domain.kernel.refusal import ExternalIdTaken, Refusal, RefusalKind
from domain.kernel.stream import Change, Claim, Free, Stream, Streams, Take, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged

ON_CLOCK: Final = "test_clock.customer"
"""The kind of claim by which a test clock's living customers are found: its value is the clock's id and theirs."""
ON_CLOCK_SEPARATOR: Final = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCustomer:
    """`locale`: None, and their documents are in the tenant's."""

    customer_id: str
    external_id: str | None = None
    currency: str
    time_zone: str = "UTC"
    locale: str | None = None
    test_clock_id: str | None = None
    personal: PersonalReference | None = None
    tax_location: TaxLocation | None = None
    vat_id_country: str | None = None
    tax_exempt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCustomer:
    """`personal` is None where it stays as it is. `based_on` is the reference of the revision that it was made from;
    `tax_location` belongs to its address, `vat_id_country` to its tax ids: with `personal` they are as they are from
    now on.
    """

    customer_id: str
    time_zone: str | Unchanged = UNCHANGED
    locale: str | Unchanged | None = UNCHANGED
    personal: PersonalReference | None = None
    tax_location: TaxLocation | None = None
    vat_id_country: str | None = None
    tax_exempt: bool | Unchanged = UNCHANGED
    based_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefaultPaymentMethod:
    """None: invoices are no longer collected automatically."""

    customer_id: str
    payment_method_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCustomer:
    """No new business; what was billed stays billed and can still be paid. `leaves_unsettled`: also where money is owed
    to them, or something waits to be billed.
    """

    customer_id: str
    leaves_unsettled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseCustomer:
    """Destroy the personal data for good; the key in the vault goes in the same batch."""

    customer_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCreated:
    """`vat_id_country`: of the European VAT id that the vault holds, well-formed; None without one."""

    customer_id: str
    external_id: str | None
    currency: CurrencyCode
    time_zone: str
    locale: str | None = None
    test_clock_id: str | None
    personal: PersonalReference | None
    tax_location: TaxLocation | None
    vat_id_country: str | None = None
    tax_exempt: bool = False
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerUpdated:
    """The customer's changeable facts as they are from now on."""

    customer_id: str
    time_zone: str
    locale: str | None = None
    personal: PersonalReference | None
    tax_location: TaxLocation | None
    vat_id_country: str | None = None
    tax_exempt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPaymentMethodSet:
    customer_id: str
    payment_method_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDeleted:
    customer_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerErased:
    customer_id: str
    erased_at: datetime


CustomerEvent = (
    CustomerCreated
    | CustomerUpdated
    | DefaultPaymentMethodSet
    | CustomerDeleted
    | CustomerErased
    | CustomerBalanceEvent
    | WaitingItemEvent
    | ConsolidationEvent
    | CustomerDiscountEvent
)


class CustomerNotFound(Refusal):
    """There is no such customer."""

    code = "customer_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "customer"


class CustomerAlreadyExists(Refusal):
    """A customer of this id exists already."""

    code = "customer_already_exists"


class CustomerIsDeleted(Refusal):
    """The customer was deleted and takes no new business: void drafts, cancel payments; what is open can be paid."""

    code = "customer_deleted"
    param = "customer"


class CustomerIsUnsettled(Refusal):
    """The customer has a balance, or items that wait to be billed: pay it out, bill them, or leave both so."""

    code = "customer_unsettled"
    param = "leave_unsettled"


class NotCustomersCurrency(Refusal):
    """A customer is billed and pays in one currency, their own. For another currency, create another customer."""

    code = "not_customers_currency"
    kind = RefusalKind.INVALID
    param = "currency"


class CustomerIsErased(Refusal):
    """The customer was erased and nothing may be kept of them; record what they pay as paid out of band."""

    code = "customer_erased"
    param = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """`balance` is what the next invoices draw on, never below zero; `waiting_items` are what the next one bills.
    Renewals of the subscriptions in `billed_together` share invoices.
    `discounts` are those of everything that they are billed; those that were removed last are still known.
    """

    customer_id: str
    external_id: str | None
    currency: CurrencyCode
    time_zone: str
    locale: str | None
    test_clock_id: str | None
    personal: PersonalReference | None
    tax_location: TaxLocation | None
    vat_id_country: str | None
    tax_exempt: bool
    default_payment_method_id: str | None
    balance: Money
    waiting_items: tuple[WaitingItem, ...]
    billed_together: tuple[str, ...]
    discounts: tuple[BorneDiscount, ...]
    created_at: datetime
    deleted_at: datetime | None
    erased_at: datetime | None


def open_for_business(streams: Streams, customer_id: str) -> Customer:
    """The customer, if new business may be done with them.

    Otherwise raises CustomerNotFound or CustomerIsDeleted, or TestClockIsDeleted for one who is about to be deleted
    with their clock.
    """
    customer = CUSTOMER.of(streams, customer_id)
    if customer.deleted_at is not None:
        raise CustomerIsDeleted(customer=customer_id)
    if customer.test_clock_id is not None:
        in_use(streams, customer.test_clock_id)
    return customer


def customer_time(streams: Streams, customer: Customer, now: datetime) -> datetime:
    """What "now" means for a customer."""
    return business_time(streams, customer.test_clock_id, now)


def time_of(streams: Streams, customer_id: str | None, now: datetime) -> datetime:
    """What "now" means for the customer of this id; for what is nobody's it is now."""
    return now if customer_id is None else customer_time(streams, CUSTOMER.of(streams, customer_id), now)


def check_currency(customer: Customer, currency: CurrencyCode) -> None:
    """Raises NotCustomersCurrency."""
    if currency != customer.currency:
        raise NotCustomersCurrency(
            customer=customer.customer_id, customers_currency=customer.currency, currency=currency
        )


def evolve(customer: Customer | None, event: CustomerEvent) -> Customer:
    if isinstance(event, CustomerCreated):
        return Customer(
            customer_id=event.customer_id,
            external_id=event.external_id,
            currency=event.currency,
            time_zone=event.time_zone,
            locale=event.locale,
            test_clock_id=event.test_clock_id,
            personal=event.personal,
            tax_location=event.tax_location,
            vat_id_country=event.vat_id_country,
            tax_exempt=event.tax_exempt,
            default_payment_method_id=None,
            balance=Money.zero(event.currency),
            waiting_items=(),
            billed_together=(),
            discounts=(),
            created_at=event.created_at,
            deleted_at=None,
            erased_at=None,
        )
    assert customer is not None, "the first event of a customer is customer.created"
    match event:
        case CustomerUpdated():
            return replace(
                customer,
                time_zone=event.time_zone,
                locale=event.locale,
                personal=event.personal,
                tax_location=event.tax_location,
                vat_id_country=event.vat_id_country,
                tax_exempt=event.tax_exempt,
            )
        case DefaultPaymentMethodSet():
            return replace(customer, default_payment_method_id=event.payment_method_id)
        case CustomerDeleted():
            return replace(customer, deleted_at=event.deleted_at)
        case CustomerErased():
            return replace(customer, erased_at=event.erased_at, personal=None, tax_location=None, vat_id_country=None)
        case CustomerBalanceCredited() | CustomerBalanceDrawn():
            return replace(customer, balance=balances.after(customer.balance, event))
        case CustomerItemAdded() | CustomerItemRemoved() | CustomerItemsBilled():
            return replace(customer, waiting_items=waiting_items.after(customer.waiting_items, event))
        case CustomerBilledTogether() | CustomerBilledApart():
            return replace(customer, billed_together=consolidation.after(customer.billed_together, event))
        case CustomerDiscountAttached() | CustomerDiscountEnded():
            return replace(customer, discounts=discounts_of.after(customer.discounts, event))


def claims(event: CustomerEvent, customer: Customer) -> tuple[Claim, ...]:
    """An external id belongs to one living customer; a test clock knows its living customers, to end with them."""
    match event:
        case CustomerCreated():
            return _of_the_living(customer)
        case CustomerDeleted():
            return tuple(Free(taken.kind, taken.value, taken.owner) for taken in _of_the_living(customer))
        case _:
            return ()


def _of_the_living(customer: Customer) -> tuple[Take, ...]:
    customer_id, external_id, clock_id = customer.customer_id, customer.external_id, customer.test_clock_id
    taken: list[Take] = []
    if external_id is not None:
        taken.append(
            Take("customer.external_id", external_id, customer_id, lambda: ExternalIdTaken(external_id=external_id))
        )
    if clock_id is not None:
        place = f"{clock_id}{ON_CLOCK_SEPARATOR}{customer_id}"
        taken.append(Take(ON_CLOCK, place, customer_id, lambda: CustomerAlreadyExists(customer=customer_id)))
    return tuple(taken)


EVENTS: dict[str, type] = {
    "customer.created": CustomerCreated,
    "customer.updated": CustomerUpdated,
    "customer.default_payment_method_set": DefaultPaymentMethodSet,
    "customer.deleted": CustomerDeleted,
    "customer.erased": CustomerErased,
    **balances.EVENTS,
    **waiting_items.EVENTS,
    **consolidation.EVENTS,
    **discounts_of.EVENTS,
}

CUSTOMER: Stream[Customer] = Stream(
    name="customer",
    id_field="customer_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda customer: customer.customer_id,
    not_found=CustomerNotFound,
    already_exists=CustomerAlreadyExists,
    claims=claims,
)


def balance_moved(
    customer_id: str,
    drawn: Money,
    at: datetime,
    *,
    invoice_id: str | None = None,
    refund_id: str | None = None,
    credit_note_id: str | None = None,
) -> list[Change]:
    """That so much was drawn on the customer's balance, by what is named; below zero it is credited."""
    if drawn.is_zero:
        return []
    if drawn.is_negative:
        credited = CustomerBalanceCredited(
            customer_id=customer_id,
            amount=-drawn,
            invoice_id=invoice_id,
            refund_id=refund_id,
            credit_note_id=credit_note_id,
            credited_at=at,
        )
        return [CUSTOMER.change(credited)]
    taken = CustomerBalanceDrawn(
        customer_id=customer_id,
        amount=drawn,
        invoice_id=invoice_id,
        refund_id=refund_id,
        credit_note_id=credit_note_id,
        drawn_at=at,
    )
    return [CUSTOMER.change(taken)]
