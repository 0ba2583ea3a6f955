"""Products as they are now."""

from domain.catalog.product import PRODUCT, Product
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(PRODUCT, Product, name="products", version=1, projection=Projection.BILLING)


async def get(connection: Reader, tenant_id: str, product_id: str) -> Found[Product] | None:
    """The product, archived or not."""
    return await current(connection, TABLE, PRODUCT, tenant_id, product_id)


async def page(
    connection: Reader, tenant_id: str, *, created: Between = ANY_TIME, request: PageRequest = FIRST_PAGE
) -> Page[Found[Product]]:
    """Products, newest first, archived ones too."""
    return await reading.page(connection, TABLE, tenant_id, where={}, created=created, request=request)
