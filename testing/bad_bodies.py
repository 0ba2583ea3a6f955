"""Bodies that no operation takes, and what every answer to one holds to."""

import json
import re
from typing import Any, Final

import httpx2
from hypothesis import strategies as st

from api.app import RESOURCES
from api.http.operations import Operation
from api.http.problems import catalogue

CODES = {kind.code for kind in catalogue()}
SOMEBODYS_ID = "01m7ywe9z7e398x54gfbrtqnk7"
PREFIXES = {name: prefix for resource in RESOURCES for name, prefix in resource.path_ids.items()}
THEIR_WORDS = re.compile(
    r"should (be|have|match)|Input|Field required|not permitted|pattern|pydantic|validation|discriminator|Expecting"
    r"|\\\\x|\[\^|string_|(int|str|string|model|tuple|list|dict|bool)_type|_forbidden|literal_error|missing"
    r"|expected ident|EOF|_parsing"
)
"""What the libraries that read JSON and check fields would say."""
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["\x00", "NaN", "1e999", "4242424242424242", "cus_" + SOMEBODYS_ID, "USD", "2026-02-30T00:00:00Z"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


NO_BODIES: Final = [
    b"{",
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b"\xff\xfe",
    b"null",
    b"[]",
    b'"text"',
    b"1" * 10_000,
    b'{"name":"\\ud800"}',
    b'{"name":"\x00"}',
    b'{"\\u0000":1}',
    b'{"amount":{"amount":99999999999999999999999999,"currency":"USD"}}',
    b'{"amount":{"amount":1e400,"currency":"USD"}}',
    b'{"amount":{"amount":NaN,"currency":"USD"}}',
    b'{"unknown_field":true}',
    b'{"__proto__":{}}',
    b'{"name":"P","name":"P"}',
    b'{"name":"P","n\\u0061me":"Q"}',
    b'{"metadata":{"a":"1","a":"2"}}',
]
"""What is no JSON, or no object that any operation has a use for."""


def path_of(operation: Operation, tenant_id: str = "nobody") -> str:
    """The operation's path, with ids of the right form that nothing has."""
    named = {"tenant": tenant_id, "feature": "api_calls"}
    return operation.path.format(**named, **{name: prefix + SOMEBODYS_ID for name, prefix in PREFIXES.items()})


def check_problem(response: httpx2.Response) -> dict[str, Any]:
    """A 4xx problem with a code that is documented, and nothing of our insides."""
    assert 400 <= response.status_code < 500, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] in CODES
    assert problem["status"] == response.status_code
    assert problem["type"] == f"/problems#{problem['code']}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    told = problem["detail"]
    for error in problem.get("errors", []):
        told = told.replace(error["param"], "") + "\n" + error["message"]  # a name may be the sender's own word
    assert not THEIR_WORDS.search(told), told
    return problem


def broken(example: object) -> st.SearchStrategy[object]:
    """Near misses: a good body with one value replaced, one name added, or one part dropped."""

    @st.composite
    def bodies(draw: st.DrawFn) -> object:
        body = json.loads(json.dumps(example))
        if not isinstance(body, dict) or not body:
            return draw(json_values)
        name = draw(st.sampled_from(sorted(body)))
        match draw(st.sampled_from(["replace", "add", "drop", "deeper"])):
            case "replace":
                body[name] = draw(json_values)
            case "add":
                body[draw(st.text(min_size=1, max_size=12))] = draw(json_values)
            case "drop":
                del body[name]
            case "deeper" if isinstance(body[name], dict) and body[name]:
                body[name][draw(st.sampled_from(sorted(body[name])))] = draw(json_values)
            case _:
                return draw(json_values)
        return body

    return bodies()
