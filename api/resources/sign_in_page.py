"""The page to which the link of `make dev` leads: it signs in once, and says as whom."""

import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Final

from api.http.call import Call
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.replies import Header, Reply

PAGES: Final = Operations(tag="pages", about="What people see in a browser.")
_HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")
_FOLDER: Final = Path(__file__).parent.parent / "http" / "docs_page"


@cache
def _page() -> tuple[bytes, tuple[Header, ...]]:
    """The page, and a policy that lets exactly its own style and script run, and ask nobody but this API."""
    style, script, page = (
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("docs.css", "sign_in.js", "sign_in.html")
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page = page.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    return page.encode(), (_HTML, (b"content-security-policy", policy.encode()))


def _digest(text: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


@PAGES.query(
    "/sign-in",
    answers=str,
    example="<!doctype html>…",
    parameters=NoParameters,
    media_type="text/html",
    is_open=True,
)
async def get_sign_in_page(_call: Call, _asked: NoParameters) -> Reply:
    """Show the page to which the link of `make dev` leads."""
    body, headers = _page()
    return Reply(200, headers, body)
