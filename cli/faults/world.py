"""What a tenant's load knows of, to act on."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

CURRENCIES: Final = ("EUR", "JPY")
KEPT_MAX: Final = 200
"""Things of a kind that the actors remember; older ones are left alone."""


@dataclass(slots=True)
class Person:
    """A customer, as the load knows it."""

    customer_id: str
    currency: str
    payment_method: str = ""
    clock: str | None = None


@dataclass(slots=True)
class World:
    """What there is to act on, oldest first."""

    people: list[Person] = field(default_factory=list)
    payments: list[str] = field(default_factory=list)
    invoices: list[str] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    clocks: dict[str, datetime] = field(default_factory=dict)
    coupons: list[str] = field(default_factory=list)
    discounts: list[str] = field(default_factory=list)
    plan: str = ""
    prices: list[str] = field(default_factory=list)


def keep(things: list[Any], thing: object) -> None:
    """Remember one more of a kind."""
    things.append(thing)
    if len(things) > KEPT_MAX:
        del things[0]
