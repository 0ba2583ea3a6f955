"""Recurring revenue: what each subscription moved of it, day by day."""

from typing import Final

from projections.models import mrr_days
from projections.models.mrr_days import Level
from projections.reports.report import Report, day, money, text

MRR_MOVEMENTS: Final = Report(
    name="mrr_movements",
    about=(
        "What each subscription changed of the monthly recurring revenue on each day (UTC): the sum of the changes up "
        "to a day is the MRR of that day."
    ),
    source=f"(SELECT * FROM read.mrr_days WHERE level = '{Level.SUBSCRIPTION}' AND change <> 0) r",  # noqa: S608
    columns=(
        day("day", "The day on which it took effect."),
        text("customer_id", "The customer."),
        text("subscription_id", "The subscription."),
        text("movement", "new, expansion, contraction, churn or reactivation, of the customer's revenue."),
        text("currency", "The currency of the change."),
        *money("change", "What it changed; below zero for contraction and churn.", currency="r.currency"),
    ),
    order=("r.day", "r.subscription_id", "r.movement"),
    since=None,
    rests_on=(mrr_days.TABLE,),
    customer="r.customer_id",
)

OF_RECURRING: Final = (MRR_MOVEMENTS,)
