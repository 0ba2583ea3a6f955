"""Products: what is sold. A change makes a new version."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Clearable, Kept
from api.http.fields import Line, LongText, New, NoBody, ProductId
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.tax_fields import TaxCategory
from domain.catalog.product import (
    PRODUCT,
    ArchiveProduct,
    ChangeProduct,
    CreateProduct,
    DeleteProduct,
    Product,
    ProductInUse,
    ProductIsArchived,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import PRODUCT as PREFIX
from infra.ids import new_id
from projections.models import products as read

_ID: Final = "prod_01m7ywe9z7e398x54gfbrtqnk7"


class NewProduct(New):
    """A product to be."""

    name: Line
    description: LongText | None = None
    tax_category: TaxCategory | None = None


class ProductChange(Change):
    """What is to change of a product."""

    name: Kept[Line]
    description: Clearable[LongText]
    tax_category: Clearable[TaxCategory]


class ProductResource(TypedDict):
    """A product."""

    id: ProductId
    object: Literal["product"]
    name: str
    description: str | None
    tax_category: str | None
    version: Annotated[int, Field(description="Rises by one with every change.")]
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None
    deleted_at: datetime | None


def product_resource(product: Product) -> ProductResource:
    """A product as it is answered."""
    return {
        "id": product.product_id,
        "object": "product",
        "name": product.name,
        "description": product.description,
        "tax_category": product.tax_category,
        "version": product.version,
        "active": product.archived_at is None,
        "metadata": dict(product.metadata),
        "created": product.created_at,
        "archived_at": product.archived_at,
        "deleted_at": product.deleted_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "product",
    "name": "Team",
    "description": "Everything a team needs",
    "tax_category": "saas",
    "version": 1,
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
    "deleted_at": None,
}

PRODUCTS: Final = Resource(
    tag="products",
    about="What is sold.",
    stream=PRODUCT,
    table=read.TABLE,
    path="/v1/products",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=ProductResource,
    render=product_resource,
    example=EXAMPLE,
)


@PRODUCTS.creates(
    body=NewProduct,
    body_example={"name": "Team", "description": "Everything a team needs", "tax_category": "saas"},
)
async def create_product(_call: Call, body: NewProduct) -> Intention:
    """Create a product."""
    product_id = new_id(PREFIX)
    return PRODUCTS.created(
        product_id,
        CreateProduct(
            product_id=product_id,
            name=body.name,
            description=body.description,
            tax_category=body.tax_category,
            metadata=body.kept,
        ),
    )


@PRODUCTS.changes(
    "PATCH",
    body=ProductChange,
    body_example={"name": "Team Plus"},
    example={"name": "Team Plus", "version": 2},
    refusals=(ProductIsArchived,),
)
async def update_product(call: Call, body: ProductChange) -> Intention:
    """Change a product, which makes a new version; metadata alone does not.

    What the body leaves out stays as it is; null clears what may be empty.
    """
    product_id = PRODUCTS.id_of(call)
    return PRODUCTS.patched(
        product_id,
        body,
        ChangeProduct(
            product_id=product_id, name=body.name, description=body.description, tax_category=body.tax_category
        ),
    )


@PRODUCTS.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_product(call: Call, _body: NoBody) -> Intention:
    """Archive a product: it gets no new plans."""
    product_id = PRODUCTS.id_of(call)
    return PRODUCTS.changed(product_id, ArchiveProduct(product_id=product_id))


@PRODUCTS.changes(
    "DELETE",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z", "deleted_at": "2026-02-01T00:00:00Z"},
    refusals=(ProductInUse,),
)
async def delete_product(call: Call, _body: NoBody) -> Intention:
    """Delete a product that no plan, coupon or invoice names. One that is in use can be archived."""
    product_id = PRODUCTS.id_of(call)
    return PRODUCTS.changed(product_id, DeleteProduct(product_id=product_id))
