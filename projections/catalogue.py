"""Every read model there is, by projection. A tally stands after what it counts."""

from typing import Any, Final

from projections.models import (
    account_balances,
    approvals,
    coupons,
    credit_notes,
    customers,
    discounts,
    entitlements,
    invoices,
    journal_entries,
    ledger_entries,
    meters,
    mrr_days,
    payment_methods,
    payments,
    plan_migration_moves,
    plan_migrations,
    plans,
    prices,
    products,
    receivables,
    recurring,
    refunds,
    sagas,
    stats,
    subscriptions,
    tax_days,
    tax_rates,
    tax_registrations,
    test_clocks,
    triggered_alerts,
    usage_alerts,
)
from projections.read_model import Projection, ReadModel

READ_MODELS: Final[tuple[ReadModel[Any], ...]] = (
    customers.TABLE,
    products.TABLE,
    plans.TABLE,
    prices.TABLE,
    coupons.TABLE,
    discounts.TABLE,
    meters.TABLE,
    usage_alerts.TABLE,
    triggered_alerts.TABLE,
    entitlements.TABLE,
    tax_rates.TABLE,
    tax_registrations.TABLE,
    subscriptions.TABLE,
    plan_migrations.TABLE,
    plan_migration_moves.TABLE,
    invoices.TABLE,
    receivables.TABLE,
    credit_notes.TABLE,
    test_clocks.TABLE,
    journal_entries.TABLE,
    approvals.TABLE,
    stats.BILLING,
    tax_days.TABLE,
    recurring.TABLE,
    mrr_days.TABLE,
    payment_methods.TABLE,
    payments.TABLE,
    refunds.TABLE,
    *sagas.TABLES,
    stats.PAYMENTS,
    ledger_entries.TABLE,
    account_balances.TABLE,
)
BY_NAME: Final = {model.name: model for model in READ_MODELS}


def read_models_of(projection: Projection) -> tuple[ReadModel[Any], ...]:
    """The read models that are folded from one topic."""
    return tuple(model for model in READ_MODELS if model.projection is projection)
