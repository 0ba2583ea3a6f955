"""The OpenAPI document of all that the API can do, made once a process: it takes seconds, so no test makes it as it is
imported, nor changes it.
"""

from functools import cache
from typing import Any

from api.app import RESOURCES
from api.http.openapi import document


@cache
def openapi() -> dict[str, Any]:
    """The document."""
    return document(RESOURCES, version="test")
