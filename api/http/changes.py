"""The bodies of PATCH: what is left out stays as it is, null clears what may be empty and is refused elsewhere.

A field's type says which of the two it is, and what it parses to is what a command takes: the value, None where it is
to be cleared, UNCHANGED where the body does not name it.
"""

from typing import Annotated, Any, Final, TypeAlias, TypeVar, Union, get_args

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from api.http.fields import Body, Metadata
from domain.kernel.metadata import MetadataChange
from domain.kernel.unchanged import UNCHANGED, Unchanged

Value = TypeVar("Value")


class _LeftOut:
    """Parses what is sent by the other members of the type: a client has no word for UNCHANGED but silence."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        sent = tuple(each for each in get_args(source) if each is not Unchanged)
        return handler.generate_schema(Union[sent])  # noqa: UP007  of as many members as there are


_DEFAULT: Final = Field(default_factory=lambda: UNCHANGED)

Kept: TypeAlias = Annotated[Value | Unchanged, _LeftOut(), _DEFAULT]
"""A field that always has a value: null is refused."""

Clearable: TypeAlias = Annotated[Value | Unchanged | None, _LeftOut(), _DEFAULT]
"""A field that may be empty: null clears it."""


class Partial(Body):
    """What is to change; every field may be left out."""


class Change(Partial):
    """The same of a resource that has metadata."""

    metadata: Clearable[Metadata]

    @property
    def changes_only_metadata(self) -> bool:
        """Whether it names nothing else."""
        return self.model_fields_set <= {"metadata"}

    @property
    def metadata_change(self) -> MetadataChange:
        """What is to change of the metadata: of none of them where the body does not name them."""
        return {} if isinstance(self.metadata, Unchanged) else self.metadata
