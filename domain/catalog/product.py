"""A product: what is sold. Plans say how often it is billed, prices say for how much.

Its tax category is a word of the tenant's own tables of rates; what is sold of it bears the category it had then.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Streams, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProduct:
    product_id: str
    name: str
    description: str | None = None
    tax_category: str | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeProduct:
    """A change makes a new version; None clears a value."""

    product_id: str
    name: str | Unchanged = UNCHANGED
    description: str | Unchanged | None = UNCHANGED
    tax_category: str | Unchanged | None = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveProduct:
    product_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteProduct:
    product_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductCreated:
    product_id: str
    name: str
    description: str | None
    tax_category: str | None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductVersionAdded:
    product_id: str
    version: int
    name: str
    description: str | None
    tax_category: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductArchived:
    product_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductUsed:
    """`by` names it: a plan, a coupon, or the first invoice or waiting item with a line of it."""

    product_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFreed:
    """That plan or coupon was deleted."""

    product_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductDeleted:
    product_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductMetadataSet(MetadataSet):
    product_id: str


ProductEvent = (
    ProductCreated
    | ProductVersionAdded
    | ProductArchived
    | ProductUsed
    | ProductFreed
    | ProductDeleted
    | ProductMetadataSet
)


class ProductNotFound(Refusal):
    """There is no such product."""

    code = "product_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "product"


class ProductAlreadyExists(Refusal):
    """A product of this id exists already."""

    code = "product_already_exists"


class ProductIsArchived(Refusal):
    """The product is archived and cannot be sold any more."""

    code = "product_archived"
    param = "product"


class ProductInUse(Refusal):
    """A plan, a coupon or an invoice names the product: archive it, or delete what names it first."""

    code = "product_in_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`used_by` names what rests on it. One that was deleted is archived, too."""

    product_id: str
    version: int
    name: str
    description: str | None
    tax_category: str | None
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None
    deleted_at: datetime | None
    used_by: tuple[str, ...]


def living(streams: Streams, product_id: str) -> Product:
    """The product, archived or not. Raises ProductNotFound, also for one that was deleted."""
    product = PRODUCT.of(streams, product_id)
    if product.deleted_at is not None:
        raise PRODUCT.missing(product_id)
    return product


def on_sale(streams: Streams, product_id: str) -> Product:
    """The product, if it may still be sold: ProductNotFound or ProductIsArchived otherwise."""
    product = living(streams, product_id)
    if product.archived_at is not None:
        raise ProductIsArchived(product=product_id)
    return product


def evolve(product: Product | None, event: ProductEvent) -> Product:
    if isinstance(event, ProductCreated):
        return Product(
            product_id=event.product_id,
            version=1,
            name=event.name,
            description=event.description,
            tax_category=event.tax_category,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
            deleted_at=None,
            used_by=(),
        )
    assert product is not None, "the first event of a product is product.created"
    match event:
        case ProductVersionAdded():
            return replace(
                product,
                version=event.version,
                name=event.name,
                description=event.description,
                tax_category=event.tax_category,
            )
        case ProductArchived():
            return replace(product, archived_at=event.archived_at)
        case ProductUsed():
            return replace(product, used_by=(*product.used_by, event.by))
        case ProductFreed():
            return replace(product, used_by=tuple(each for each in product.used_by if each != event.by))
        case ProductDeleted():
            return replace(product, archived_at=product.archived_at or event.deleted_at, deleted_at=event.deleted_at)
        case ProductMetadataSet():
            return replace(product, metadata=event.metadata)


EVENTS: dict[str, type] = {
    "product.created": ProductCreated,
    "product.version_added": ProductVersionAdded,
    "product.archived": ProductArchived,
    "product.used": ProductUsed,
    "product.freed": ProductFreed,
    "product.deleted": ProductDeleted,
    "product.metadata_set": ProductMetadataSet,
}

PRODUCT: Stream[Product] = Stream(
    name="product",
    id_field="product_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda product: None,
    not_found=ProductNotFound,
    already_exists=ProductAlreadyExists,
    metadata_set=ProductMetadataSet,
)
