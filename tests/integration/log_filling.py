"""A writer of the real domain on a test's database, and commands that fill its log."""

import contextlib
from collections.abc import AsyncIterator

from domain.catalog.product import CreateProduct
from infra.event_store.opening import open_writer
from infra.event_store.writer import GroupCommitWriter
from infra.ids import new_id
from infra.settings import WriterSettings


@contextlib.asynccontextmanager
async def domain_writer(dsn: str) -> AsyncIterator[GroupCommitWriter]:
    """The writer with every command of the domain; closed at the end."""
    settings = WriterSettings()
    writer = open_writer(dsn, settings)
    try:
        yield writer
    finally:
        await writer.close()


def new_product(nth: int) -> CreateProduct:
    """A command that becomes one event of the billing topic."""
    return CreateProduct(product_id=new_id("prod_"), name=f"Product {nth}")
