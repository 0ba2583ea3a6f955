"""The API's own documentation: OpenAPI, AsyncAPI, a page for people, a list of problems. Nothing from elsewhere."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic_core import to_json

from api.http.call import Call
from api.http.listing import NoParameters
from api.http.openapi import document
from api.http.operations import Operations
from api.http.problems import catalogue
from api.http.replies import JSON, Header, Reply
from domain.catalogue import STREAMS
from schemas import asyncapi

DOCUMENTATION: Final = Operations(tag="documentation", about="This documentation.")
HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")
_FOLDER: Final = Path(__file__).parent / "docs_page"


def _version() -> str:
    try:
        return version("tallybook")
    except PackageNotFoundError:
        return "0"


_described: list[Operations] = []


def describe(resources: Sequence[Operations]) -> None:
    """Say what is served; the document is made when it is first asked for."""
    _described[:] = resources


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of everything that is served."""
    return document(_described, version=_version())


@cache
def _openapi_body() -> bytes:
    return to_json(openapi())


@DOCUMENTATION.query(
    "/openapi.json",
    answers=dict[str, Any],
    example={"openapi": "3.1.0"},
    parameters=NoParameters,
    is_open=True,
)
async def get_openapi(_call: Call, _asked: NoParameters) -> Reply:
    """Get this API's OpenAPI 3.1 document."""
    # Making it takes a moment, which other requests need not wait for.
    return Reply(200, (JSON,), await asyncio.to_thread(_openapi_body))


@DOCUMENTATION.query(
    "/asyncapi.json",
    answers=dict[str, Any],
    example={"asyncapi": "3.0.0"},
    parameters=NoParameters,
    is_open=True,
)
async def get_asyncapi(call: Call, _asked: NoParameters) -> Reply:
    """Get the AsyncAPI 3 document of the topics."""
    kafka = call.parts.settings.kafka
    made = asyncapi.document(
        STREAMS,
        prefix=kafka.topic_prefix,
        partitions=kafka.partitions,
        version=_version(),
        bootstrap=kafka.bootstrap,
    )
    return Reply(200, (JSON,), to_json(made))


@cache
def _page() -> tuple[bytes, tuple[Header, ...]]:
    """The page with its style and script inside, and a policy that lets exactly these run."""
    style = (_FOLDER / "docs.css").read_text(encoding="utf-8")
    script = (_FOLDER / "docs.js").read_text(encoding="utf-8")
    page = (_FOLDER / "docs.html").read_text(encoding="utf-8")
    page = page.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), (HTML, (b"content-security-policy", policy.encode()))


def _digest(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


@DOCUMENTATION.query(
    "/docs", answers=str, example="<!doctype html>…", parameters=NoParameters, media_type="text/html", is_open=True
)
async def get_docs(_call: Call, _asked: NoParameters) -> Reply:
    """Show this API to people: every operation with its fields, examples and problems."""
    body, headers = _page()
    return Reply(200, headers, body)


@cache
def _problems_page() -> tuple[bytes, tuple[Header, ...]]:
    style = (_FOLDER / "docs.css").read_text(encoding="utf-8")
    rows = "".join(
        f'<tr id="{escape(kind.code)}"><td><code>{escape(kind.code)}</code></td><td>{kind.status}</td>'
        f"<td>{escape(kind.title)}</td></tr>"
        for kind in catalogue()
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tallybook problems</title><style>{style}</style>'
        f"<main><h1>Problems</h1><p>Every error has one of these codes; they are stable.</p>"
        f"<table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table></main></html>"
    )
    policy = f"default-src 'none'; style-src '{_digest(style)}'; frame-ancestors 'none'"
    return page.encode(), (HTML, (b"content-security-policy", policy.encode()))


@DOCUMENTATION.query(
    "/problems", answers=str, example="<!doctype html>…", parameters=NoParameters, media_type="text/html", is_open=True
)
async def get_problems(_call: Call, _asked: NoParameters) -> Reply:
    """List every problem code with its status and meaning."""
    body, headers = _problems_page()
    return Reply(200, headers, body)
