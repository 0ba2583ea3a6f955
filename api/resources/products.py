"""Products: what is sold. A change makes a new version."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, Line, LongText, NoBody, ProductId
from api.http.listing import (
    CreatedParameters,
    ListResource,
    NoParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from domain.catalog.product import (
    PRODUCT,
    ArchiveProduct,
    ChangeProduct,
    CreateProduct,
    Product,
    ProductIsArchived,
    ProductNotFound,
)
from domain.kernel.identifiers import PRODUCT as PREFIX
from domain.kernel.stream import Streams
from infra.ids import new_id
from projections.models import products as read
from projections.read_model import Projection

PRODUCTS: Final = Operations(tag="products", about="What is sold.")
_ID: Final = "prod_01m7ywe9z7e398x54gfbrtqnk7"


class NewProduct(Body):
    """A product to be."""

    name: Line
    description: LongText | None = None


class ProductChange(Body):
    """What is to change; what is left out stays."""

    name: Line | None = None
    description: LongText | None = None


class ProductResource(TypedDict):
    """A product."""

    id: ProductId
    object: Literal["product"]
    name: str
    description: str | None
    version: Annotated[int, Field(description="Rises by one with every change.")]
    active: bool
    created: datetime
    archived_at: datetime | None


def product_resource(product: Product) -> ProductResource:
    """A product as it is answered."""
    return {
        "id": product.product_id,
        "object": "product",
        "name": product.name,
        "description": product.description,
        "version": product.version,
        "active": product.archived_at is None,
        "created": product.created_at,
        "archived_at": product.archived_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "product",
    "name": "Team",
    "description": "Everything a team needs",
    "version": 1,
    "active": True,
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
}


def _decided(streams: Streams, product_id: str) -> ProductResource:
    return product_resource(PRODUCT.of(streams, product_id))


def _path_id(call: Call) -> str:
    return call.id("product_id", PREFIX, ProductNotFound)


@PRODUCTS.command(
    "POST",
    "/v1/products",
    body=NewProduct,
    body_example={"name": "Team", "description": "Everything a team needs"},
    answers=ProductResource,
    example=EXAMPLE,
    status=201,
)
async def create_product(_call: Call, body: NewProduct) -> Intention:
    """Create a product."""
    product_id = new_id(PREFIX)
    return Intention(
        command=CreateProduct(product_id=product_id, name=body.name, description=body.description),
        render=lambda streams: _decided(streams, product_id),
        location=f"/v1/products/{product_id}",
    )


@PRODUCTS.command(
    "PATCH",
    "/v1/products/{product_id}",
    body=ProductChange,
    body_example={"name": "Team Plus"},
    answers=ProductResource,
    example=EXAMPLE | {"name": "Team Plus", "version": 2},
    refusals=(ProductNotFound, ProductIsArchived),
)
async def update_product(call: Call, body: ProductChange) -> Intention:
    """Change a product, which makes a new version."""
    product_id = _path_id(call)
    return Intention(
        command=ChangeProduct(product_id=product_id, name=body.name, description=body.description),
        render=lambda streams: _decided(streams, product_id),
    )


@PRODUCTS.command(
    "POST",
    "/v1/products/{product_id}/archive",
    body=NoBody,
    answers=ProductResource,
    example=EXAMPLE | {"active": False, "archived_at": "2026-02-01T00:00:00Z"},
    refusals=(ProductNotFound,),
)
async def archive_product(call: Call, _body: NoBody) -> Intention:
    """Archive a product: it gets no new plans."""
    product_id = _path_id(call)
    return Intention(
        command=ArchiveProduct(product_id=product_id), render=lambda streams: _decided(streams, product_id)
    )


@PRODUCTS.query(
    "/v1/products/{product_id}",
    answers=ProductResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(ProductNotFound,),
    reads=(Projection.BILLING,),
)
async def get_product(call: Call, _asked: NoParameters) -> ProductResource:
    """Get a product."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise ProductNotFound(product=wanted)
    return product_resource(found.state)


@PRODUCTS.query(
    "/v1/products",
    answers=ListResource[ProductResource],
    example=list_example(EXAMPLE),
    parameters=CreatedParameters,
    reads=(Projection.BILLING,),
)
async def list_products(call: Call, asked: CreatedParameters) -> ListResource[ProductResource]:
    """List products, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(connection, call.tenant_id, created=asked.created, request=request)
    return page_resource(page, request, [product_resource(found.state) for found in page.items])
