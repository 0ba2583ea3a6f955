"""From which amount on a subscription's usage is invoiced while its period runs."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import Body, MoneyResource, PositiveMoney, money
from domain.subscriptions.terms import UsageThreshold


class UsageThresholdBody(Body):
    """Usage is invoiced before its period is over once it has come to `amount` more than was invoiced of it."""

    amount: PositiveMoney
    recurring: Annotated[bool, Field(description="Each time that it does; else once a period.")] = True

    @property
    def value(self) -> UsageThreshold:
        return UsageThreshold(amount=self.amount.value, recurring=self.recurring)


class UsageThresholdResource(TypedDict):
    """Usage is invoiced before its period is over once it has come to `amount` more than was invoiced of it: each time,
    or once a period.
    """

    amount: MoneyResource
    recurring: bool


def threshold_resource(threshold: UsageThreshold | None) -> UsageThresholdResource | None:
    """A threshold as it is answered."""
    return None if threshold is None else {"amount": money(threshold.amount), "recurring": threshold.recurring}
