"""Commands about what is sold: products, plans of products, prices of plans."""

from datetime import datetime

from domain.catalog import plan as plans
from domain.catalog import price as prices
from domain.catalog import product as products
from domain.catalog.plan import PLAN, CreatePlan, PlanCommand
from domain.catalog.price import PRICE, CreatePrice, PriceCommand
from domain.catalog.product import PRODUCT, ProductCommand
from domain.kernel.stream import Change, Decision, Streams


def change_product(command: ProductCommand, streams: Streams, now: datetime) -> Decision:
    events = products.decide(command, streams.get(PRODUCT, command.product_id), now)
    return Decision(now, [Change(PRODUCT, command.product_id, event) for event in events])


def change_plan(command: PlanCommand, streams: Streams, now: datetime) -> Decision:
    """A new plan needs a product that is on sale."""
    if isinstance(command, CreatePlan):
        products.on_sale(streams.get(PRODUCT, command.product_id), command.product_id)
    events = plans.decide(command, streams.get(PLAN, command.plan_id), now)
    return Decision(now, [Change(PLAN, command.plan_id, event) for event in events])


def change_price(command: PriceCommand, streams: Streams, now: datetime) -> Decision:
    """A new price needs a plan that is on sale."""
    if isinstance(command, CreatePrice):
        plans.on_sale(streams.get(PLAN, command.plan_id), command.plan_id)
    events = prices.decide(command, streams.get(PRICE, command.price_id), now)
    return Decision(now, [Change(PRICE, command.price_id, event) for event in events])
