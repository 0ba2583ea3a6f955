"""Products as they are now."""

from domain.catalog.product import PRODUCT, Product
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    PRODUCT, Product, name="products", version=1, projection=Projection.BILLING, texts=("name", "description")
)
