"""What is wished for, drawn without knowing the tenant: a kind, and numbers that choose among what there is."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from domain.customers.customer import CUSTOMER, Customer
from domain.kernel.stream import Command, State, Stream
from tests.domain.lifecycle.tenant import Tenant

T = TypeVar("T")


class Wish(NamedTuple):
    """A kind, whose subject is the `a`-th of those there are; `b` and `c` choose the rest."""

    kind: str
    a: int
    b: int
    c: int


Granting: TypeAlias = Mapping[str, Callable[[Tenant, Wish], Command | None]]
"""What each kind of wish comes to by now; None where there is nothing yet that it could be about."""


def pick(of: Sequence[T], n: int) -> T | None:
    """One of them, the same for the same number; None where there is none."""
    return of[n % len(of)] if of else None


def apt(tenant: Tenant, stream: Stream[State], n: int, *, where: Callable[[State], bool]) -> State | None:
    """The n-th of those that the wish makes sense for; one in eight is any of them."""
    found = tenant.all(stream)
    wanted = [each for each in found if where(each)]
    return pick(wanted if n % 8 and wanted else found, n // 8)


def somebody(tenant: Tenant, wish: Wish) -> Customer:
    """Mostly one who is still there."""
    found = apt(tenant, CUSTOMER, wish.a, where=lambda each: each.deleted_at is None)
    assert found is not None, "there are some from the beginning"
    return found


def card_of(customer_id: str) -> str:
    """The one card that each customer has."""
    return "pm_" + customer_id.removeprefix("cus_")


def up_to(n: int, most: int) -> int:
    """Minor units, from nothing to so many."""
    return n * 7_919 % most
