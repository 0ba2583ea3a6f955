"""Users as another system hands them over: a file of lines, CSV or JSON, each an address, a name, a hash, a role."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError

from api.http.fields import Body, Line
from api.http.validation import invalid_body
from api.resources.personal_data import Email
from cli.line_file import Wrong, opened_lines
from domain.identity.addresses import normalized_address
from domain.identity.permissions import Role, UnknownRole, role_named
from domain.identity.team import MEMBERS_MAX, OF_TEAMS
from infra.identity.password_hashing import UnusableHash, imported_hash

COLUMNS: Final = ("email", "name", "password_hash", "role")
LINE_MAX_CHARS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUser:
    """A line that can be imported. `role` is None where the line says none."""

    line: int
    email: str
    name: str
    password_hash: bytes | None
    role: Role | None


def _role(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        role = role_named(text)
    except UnknownRole:
        role = None
    if role not in OF_TEAMS:
        names = ", ".join(sorted(each.value for each in OF_TEAMS))
        raise PydanticCustomError("unknown_role", "Must be one of {names}", {"names": names})
    return role


def _hash(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return imported_hash(text)
    except UnusableHash as unusable:
        raise PydanticCustomError("unusable_hash", "{why}", {"why": str(unusable)}) from None


class _Entry(Body):
    email: Email
    name: Line | None = None
    password_hash: Annotated[bytes | None, BeforeValidator(_hash)] = None
    role: Annotated[Role | None, BeforeValidator(_role)] = None


def read_users(path: Path) -> tuple[Sequence[FileUser], Sequence[str]]:
    """The users of a file (`.csv` with a header; else a JSON object a line), and what is wrong with it, line by line.

    What is wrong tells no value: they are addresses and hashes. Raises Unreadable.
    """
    with opened_lines(path, check_columns=_lacking, line_max_chars=LINE_MAX_CHARS) as lines:
        return _checked(lines)


def _lacking(columns: list[str]) -> str | None:
    if "email" in columns and all(name in COLUMNS for name in columns):
        return None
    return f"its first line must name the columns, of {', '.join(COLUMNS)}; email must be among them"


def _checked(lines: Iterator[tuple[int, object]]) -> tuple[Sequence[FileUser], Sequence[str]]:
    users: list[FileUser] = []
    wrong: list[str] = []
    first_lines: dict[str, int] = {}
    for number, entry in lines:
        if len(users) + len(wrong) >= MEMBERS_MAX:
            wrong.append(f"line {number}: a team has at most {MEMBERS_MAX} members")
            break
        if isinstance(entry, Wrong):
            wrong.append(f"line {number}: {entry}")
            continue
        try:
            found = _Entry.model_validate(entry)
        except ValidationError as error:
            wrong += [f"line {number}: {told}" for told in _told(error, entry)]
            continue
        first = first_lines.setdefault(normalized_address(found.email), number)
        if first != number:
            wrong.append(f"line {number}: email: It is the address of line {first}")
            continue
        users.append(
            FileUser(
                line=number,
                email=found.email,
                name=found.name or "",
                password_hash=found.password_hash,
                role=found.role,
            )
        )
    return users, wrong


def _told(error: ValidationError, entry: object) -> Iterator[str]:
    for each in invalid_body(error, entry, _Entry).errors:
        if not each.param:
            yield "It is no JSON object"
        elif each.param in COLUMNS:
            yield f"{each.param}: {each.message}"
        else:
            # A name that nobody knows may be an address, in a file whose columns are mixed up.
            yield f"There is a field that is none of {', '.join(COLUMNS)}"
