"""Personal data as they are shown to who may not see them plain: `a…@…` for ada@example.com.

An answer is masked on its way out, whole, wherever a person stands in it: opened in place of an id, in a list, or in
the stored answer of a command. What is stored stays plain, for who may see it under the same key.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from api.http.replies import JSON, Reply

PERSONAL: Final[Mapping[str, frozenset[str]]] = {
    "customer": frozenset({"name", "email", "phone", "address", "tax_ids", "metadata"}),
    "user": frozenset({"name", "email"}),
    "invitation": frozenset({"email"}),
    "auth_event": frozenset({"address", "user_agent"}),
}
"""By an answer's `object`, its fields that the vault keeps."""

OWN: Final = frozenset({"profile"})
"""Answers that are shown to the very person whose they are, and so are never masked."""

HIDDEN: Final = "…"
_KINDS: Final = frozenset({"type", "country"})
"""Inside of a personal field: what tells of what kind it is, and of nobody."""


def masked(answer: Any) -> Any:
    """The answer with every person in it masked; what is empty stays so, and is seen to be."""
    if isinstance(answer, Mapping):
        personal = PERSONAL.get(answer.get("object", ""), frozenset())
        return {
            name: _masked_field(name, value) if name in personal else masked(value) for name, value in answer.items()
        }
    if isinstance(answer, list | tuple):
        return [masked(each) for each in answer]
    return answer


def masked_reply(reply: Reply) -> Reply:
    """The same of an answer that is bytes already."""
    if JSON not in reply.headers:
        return reply
    return reply._replace(body=to_json(masked(from_json(reply.body))))


def _masked_field(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: each if key in _KINDS else _masked_field("", each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked_field("", each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    if name == "email":
        return f"{value[0]}{HIDDEN}@{HIDDEN}"
    return value[0] + HIDDEN if name == "name" else HIDDEN
