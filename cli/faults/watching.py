"""The load on thresholds: alerts of what is used, invoices of it before its period is over, voids of those, and resets.

Alerts are of meters and of a feature, of a period and of all time. Each user is invoiced once usage comes to so much,
the one again and again, the other once a period.
"""

import random
from collections.abc import Mapping
from typing import Any, Final

from cli.faults.client import FaultClient
from domain.kernel.identifiers import INVOICE, derived_id

FEATURE: Final = "units"
LIMIT: Final = 900
EVER: Final = (40, 150, 300)
"""Calls, of all that a customer ever made, of which an alert tells; so it does of each further `EVER_EVERY`."""
EVER_EVERY: Final = 200
THRESHOLD: Final = 4_000
"""Minor units of usage that are invoiced before their period is over."""

NO_INVOICE: Final = "invoice_not_found"
NOT_RESET: Final = frozenset({"entitlement_not_metered", "feature_not_found"})
"""Where no period runs yet, or any more."""


def feature(meter: str) -> Mapping[str, object]:
    """What a plan says of what a meter counts up to a limit."""
    return {"key": FEATURE, "limit": LIMIT, "meter": meter, "limit_kind": "soft"}


def threshold_of(user: int) -> Mapping[str, object]:
    """From which amount on a user is invoiced."""
    return {"amount": {"amount": THRESHOLD, "currency": "EUR"}, "recurring": user % 2 == 0}


class Watching:
    """What the load does with thresholds. `of_all_time` is the alert that counts from the beginning."""

    def __init__(self, client: FaultClient) -> None:
        self._client = client
        self._invoiced: dict[str, int] = {}
        self.of_all_time = ""

    async def prepare(self, units: str, calls: str) -> None:
        """Alerts of two meters, and of the feature of the first of them."""
        quantities = [{"quantity": 100}, {"quantity": "250.5"}]
        await self._alert({"meter": units, "thresholds": quantities, "every": 400})
        await self._alert({"feature": FEATURE, "thresholds": [{"percent": 10}, {"percent": "50.5"}, {"percent": 100}]})
        ever = [{"quantity": each} for each in EVER]
        self.of_all_time = await self._alert(
            {"meter": calls, "period": "lifetime", "thresholds": ever, "every": EVER_EVERY}
        )

    async def _alert(self, facts: Mapping[str, Any]) -> str:
        return str((await self._client.made("/v1/usage/alerts", {"name": "Much", **facts}))["id"])

    async def reset(self, customer_id: str) -> None:
        """A customer's counter of the feature begins anew: its thresholds are told of again."""
        told = await self._client.post(f"/v1/customers/{customer_id}/entitlements/{FEATURE}/reset", {})
        self._client.must(told, "a reset was refused", holds=told.accepted or told.body.get("code") in NOT_RESET)
        self._client.counts["resets"] += told.accepted

    async def set_anew(self, chance: random.Random, subscription_id: str) -> None:
        """A threshold is taken away, or another one set, while somebody may be looking at it."""
        wanted = None if chance.random() < 1 / 3 else threshold_of(chance.randrange(2))
        path = f"/v1/subscriptions/{subscription_id}/set-usage-threshold"
        told = await self._client.post(path, {"usage_threshold": wanted})
        self._client.must(told, "a threshold was refused", holds=told.accepted)

    async def void(self, chance: random.Random, subscription_id: str) -> None:
        """One of the invoices of usage so far, counted or not; often there is none, or it is paid."""
        known = self._invoiced.setdefault(subscription_id, 0)
        nth = known if chance.random() < 2 / 3 else chance.randrange(known + 1)
        told = await self._client.post(f"/v1/invoices/{so_far_of(subscription_id, nth)}/void", {})
        self._client.counts["invoices of usage so far voided"] += told.accepted
        if told.body.get("code") != NO_INVOICE:
            self._invoiced[subscription_id] = max(known, nth + 1)


def so_far_of(subscription_id: str, nth: int) -> str:
    """The id of the invoice that bills usage before its period is over, counted from 0."""
    return derived_id(INVOICE, subscription_id, f"usage/{nth}")
