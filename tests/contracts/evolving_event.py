"""An event type of the tests' own over three versions, since the first release has no second version to show."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.stream import Stream, Topic
from domain.pricing.models import Flat, PerUnit
from schemas.codec import Codec
from schemas.committed import SchemaSet
from schemas.generate import generated
from schemas.versions import PlainEvent, Upcaster

USD = CurrencyCode("USD")
SIGNED = "contract.signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedV1:
    contract_id: str
    fee: Money
    price: Flat | PerUnit
    signed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedV2:
    """Gains a field whose default is right for all old events."""

    contract_id: str
    fee: Money
    price: Flat | PerUnit
    signed_at: datetime
    witness: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Gains a field that old events imply: a contract without a fee is a trial."""

    contract_id: str
    fee: Money
    price: Flat | PerUnit
    signed_at: datetime
    witness: str | None = None
    kind: str = "paid"


def _kind_by_fee(event: PlainEvent) -> PlainEvent:
    fee = event["fee"]
    assert isinstance(fee, dict)
    return {**event, "kind": "trial" if fee["amount"] == 0 else "paid"}


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {(SIGNED, 2): _kind_by_fee}


def streams(cls: type) -> dict[str, Stream[Any]]:
    def evolve(state: object, event: object) -> object:
        return event

    return {
        "contract": Stream(
            name="contract",
            id_field="contract_id",
            topic=Topic.BILLING,
            events={SIGNED: cls},
            evolve=evolve,
            customer_of=lambda _: None,
        )
    }


def as_released(schemas: SchemaSet) -> SchemaSet:
    return SchemaSet(replace(schema, released=True) for schema in schemas.all)


FIRST = as_released(generated(streams(SignedV1)))
SECOND = as_released(generated(streams(SignedV2), known=FIRST, versions={SIGNED: 2}))
THIRD = as_released(generated(streams(Signed), known=SECOND, versions={SIGNED: 3}))
V1 = Codec(streams(SignedV1), schemas=FIRST)
V2 = Codec(streams(SignedV2), schemas=SECOND, versions={SIGNED: 2})
NEWEST = Codec(streams(Signed), schemas=THIRD, versions={SIGNED: 3}, upcasters=UPCASTERS)

SIGNED_AT = datetime(2026, 3, 1, 9, 30, 0, 1, tzinfo=UTC)


def facts(fee: int) -> dict[str, Any]:
    price = PerUnit(currency=USD, unit_amount=Decimal("0.25")) if fee else Flat(amount=Money(1, USD))
    return {"contract_id": "c_1", "fee": Money(fee, USD), "price": price, "signed_at": SIGNED_AT}
