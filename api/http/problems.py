"""Everything the API says no with: RFC 9457 problems, each with a stable code.

A domain refusal becomes a problem by its own code and kind; what the edge itself refuses is listed here. `catalogue`
yields all of them, and docs/problems.md is written from it.
"""

import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Final, NamedTuple

from pydantic_core import to_json

import domain
from api.http.replies import PROBLEM_JSON, Header, Reply
from domain.identity.permissions import Permission, Role, holders_of
from domain.identity.tenant import PLATFORM
from domain.kernel.refusal import Refusal, RefusalKind

PROBLEMS_PATH: Final = "/problems"
STATUS_OF_KIND: Final = {
    RefusalKind.NOT_FOUND: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.INVALID: 422,
    RefusalKind.FORBIDDEN: 403,
}


class ProblemType(NamedTuple):
    """A kind of problem: its stable code, its status, and what it means."""

    code: str
    status: int
    title: str


MALFORMED_JSON: Final = ProblemType("malformed_json", 400, "The body is not JSON in UTF-8.")
DUPLICATE_NAME: Final = ProblemType("duplicate_name", 400, "A name stands twice in one object of the body.")
INVALID_HEADER: Final = ProblemType("invalid_header", 400, "A header's value is not of its form.")
MALFORMED_REQUEST: Final = ProblemType("malformed_request", 400, "This is no request of HTTP/1.1.")
HTTPS_REQUIRED: Final = ProblemType(
    "https_required", 400, "This port speaks HTTPS: ask by https://. Whatever was sent could be read on the way."
)
MISSING_KEY: Final = ProblemType(
    "idempotency_key_missing", 400, "A request that changes something needs the header Idempotency-Key."
)
DRY_RUN_NOT_POSSIBLE: Final = ProblemType(
    "dry_run_not_possible",
    400,
    "This cannot be tried: it asks a gateway before it is decided, takes usage back, or its answer is never kept. "
    "Nothing was done; send it without Tallybook-Dry-Run to have it done.",
)
UNKNOWN_VERSION: Final = ProblemType("unknown_version", 400, "The header Tallybook-Version names no version there is.")
TENANT_REQUIRED: Final = ProblemType(
    "tenant_required",
    400,
    "You are a member of several tenants, or of none: name one in X-Tenant-ID; GET /v1/auth/tenants lists yours.",
)
TWO_CREDENTIALS: Final = ProblemType(
    "two_credentials", 400, "A request comes with a session cookie or with Authorization, not with both."
)
UNAUTHENTICATED: Final = ProblemType(
    "unauthenticated",
    401,
    "The header Authorization: Bearer <API key> or <access token>, or a session's cookie, is needed, and no valid one "
    "was sent.",
)
WRONG_CREDENTIALS: Final = ProblemType(
    "wrong_credentials", 401, "There is no user with this e-mail address and this password."
)
PORTAL_CODE_INVALID: Final = ProblemType(
    "portal_code_invalid", 401, "The link into the portal was used, replaced, or is over: ask for another one."
)
NOT_IN_PORTAL: Final = ProblemType(
    "not_in_portal", 404, "There is no visit: this is for customers in the portal, and whoever asks is none."
)
TENANT_MISMATCH: Final = ProblemType(
    "tenant_mismatch",
    403,
    "X-Tenant-ID names a tenant that is not the API key's, or not one of the user's (GET /v1/auth/tenants lists them; "
    "whoever looks after the cell enters another one first).",
)
PERMISSION_DENIED: Final = ProblemType(
    "permission_denied",
    403,
    "Whoever asks does not have the permission that is needed; `permission` names it.",
)
CROSS_SITE: Final = ProblemType(
    "cross_site_request",
    403,
    "A browser's session begins and is used from a page of this site alone, as its browser says by Sec-Fetch-Site: "
    "same-origin or this site's Origin; a program signs in with the kind `program`, or has an API key.",
)
CSRF_TOKEN_INVALID: Final = ProblemType(
    "csrf_token_invalid",
    403,
    "A change with a session cookie needs the header X-CSRF-Token, as GET /v1/auth/me tells it.",
)
INSECURE_CONNECTION: Final = ProblemType(
    "insecure_connection",
    403,
    "Passwords are taken over HTTPS only, or from this machine itself: anybody on the way could read them.",
)
LOOPBACK_ONLY: Final = ProblemType("loopback_only", 403, "This link signs in from the machine itself, and no other.")
PASSWORD_CONFIRMATION_REQUIRED: Final = ProblemType(
    "password_confirmation_required",
    403,
    "This needs a password entered a short while ago: POST /v1/auth/confirm-password, then ask again.",
)
ADDRESS_NOT_ALLOWED: Final = ProblemType(
    "address_not_allowed", 403, "The API key does not work from this address: it has a list of networks."
)
TENANT_SUSPENDED: Final = ProblemType(
    "tenant_suspended", 403, "The tenant is suspended: it may be read and changes nothing until it is reactivated."
)
NO_SUCH_PAGE: Final = ProblemType(
    "route_not_found", 404, "There is nothing at this path; /docs and /openapi.json tell what there is."
)
DOCUMENT_LINK_INVALID: Final = ProblemType(
    "document_link_invalid", 404, "The link is none of ours, is over, or what it led to is gone: ask for another one."
)
NOT_FOUND: Final = ProblemType("not_found", 404, "There is no such resource.")
METHOD_NOT_ALLOWED: Final = ProblemType("method_not_allowed", 405, "The path does not take this method.")
INVOICE_NOT_FINALIZED: Final = ProblemType(
    "invoice_not_finalized", 409, "The invoice was not finalized, so it has no number and no document: finalize it."
)
TAX_SERVICE_NOT_CONFIGURED: Final = ProblemType(
    "tax_service_not_configured", 409, "No tax service is configured here: taxes are computed by your table of rates."
)
INVOICE_IMPORTED: Final = ProblemType(
    "invoice_imported", 409, "Another system issued the invoice, and its document is the one that was issued there."
)
KEY_IN_FLIGHT: Final = ProblemType(
    "idempotency_key_in_flight", 409, "The first request with this Idempotency-Key is being done."
)
PARTLY_DONE: Final = ProblemType(
    "commands_partly_done",
    409,
    "Of commands that are to be done together this one was done before, without the others: leave it out.",
)
NOT_TOGETHER: Final = ProblemType(
    "not_done_together",
    409,
    "The command was to be done together with others, one of which cannot be done: nothing was done.",
)
ONE_PERSON_TWICE: Final = ProblemType(
    "one_person_twice",
    422,
    "Two commands that are to be done together change what is kept of one person: send them one after the other.",
)
ERASED: Final = ProblemType("personal_data_erased", 410, "The answer held data of a person who was erased since.")
TOO_LARGE: Final = ProblemType("body_too_large", 413, "The body is larger than the limit.")
REQUEST_TIMEOUT: Final = ProblemType("request_timeout", 408, "The request did not arrive whole in time.")
URI_TOO_LONG: Final = ProblemType("uri_too_long", 414, "The path with its query is longer than the limit.")
UNSUPPORTED_TYPE: Final = ProblemType(
    "unsupported_media_type", 415, "A body must come with the header Content-Type: application/json."
)
HEAD_TOO_LARGE: Final = ProblemType("head_too_large", 431, "The request's head is larger than the limit.")
INVALID: Final = ProblemType("validation_failed", 422, "Some fields or parameters are not valid; errors[] tells which.")
KEY_REUSED: Final = ProblemType(
    "idempotency_key_reused", 422, "The Idempotency-Key was used before with another request."
)
CARD_NUMBER: Final = ProblemType(
    "card_number_refused", 422, "The request holds a payment card number; send the gateway's token instead."
)
RATE_LIMITED: Final = ProblemType(
    "rate_limited", 429, "Too many requests; retry after the seconds in the header Retry-After."
)
SECOND_FACTOR_REQUIRED: Final = ProblemType(
    "second_factor_required",
    401,
    "The password is right, and the user has a second factor: ask again with `code`, or with `passkey` (its options "
    "come from POST /v1/auth/passkey-options).",
)
WRONG_SECOND_FACTOR: Final = ProblemType(
    "wrong_second_factor", 401, "The code or the passkey's answer is not the user's, was used already, or is over."
)
SECOND_FACTOR_NOT_SHOWN: Final = ProblemType(
    "second_factor_not_shown", 422, "This does not show the second factor that was offered: try again, or begin again."
)
NO_PASSKEY: Final = ProblemType("no_passkey", 409, "The user has no passkey: sign in with a code.")
WRONG_PASSWORD: Final = ProblemType("wrong_password", 403, "This is not the user's password.")
REFRESH_TOKEN_INVALID: Final = ProblemType(
    "refresh_token_invalid", 401, "The refresh token is not known here, or its session is over: sign in again."
)
ONE_TIME_TOKEN_INVALID: Final = ProblemType(
    "one_time_token_invalid",
    422,
    "The link was used, replaced by a newer one, taken back, or is over: ask for another.",
)
REGISTRATION_CLOSED: Final = ProblemType(
    "registration_closed", 403, "Nobody registers by themselves here: ask an ADMIN for an invitation."
)
LOG_IN_HELD_BACK: Final = ProblemType(
    "log_in_held_back",
    429,
    "Too many log-ins failed for this account or from this address; wait the seconds in the header Retry-After.",
)
PASSWORDS_BUSY: Final = ProblemType(
    "passwords_busy", 503, "Too many passwords are being checked; retry after the seconds in the header Retry-After."
)
DOCUMENTS_BUSY: Final = ProblemType(
    "documents_busy", 503, "Too many documents are being made; retry after the seconds in the header Retry-After."
)
TAX_SERVICE_SILENT: Final = ProblemType(
    "tax_service_silent",
    503,
    "The tax service gave no answer in time that can be taken, so the tax is not known; retry after the seconds in "
    "Retry-After.",
)
EXPORTS_BUSY: Final = ProblemType(
    "exports_busy", 503, "As many exports as there may be are under way; retry after the seconds in Retry-After."
)
PARQUET_NOT_INSTALLED: Final = ProblemType(
    "parquet_not_installed",
    501,
    "This server writes no Parquet, as pyarrow is not installed: ask for format=csv, or install the extra `parquet`.",
)
USAGE_REFUSED: Final = ProblemType(
    "usage_events_refused",
    422,
    "None of the events can be taken, or not all of those that were to be taken together; errors[] tells why, by their "
    "places in the request.",
)
USAGE_EVENT_NOT_COUNTED: Final = ProblemType(
    "usage_event_not_counted", 404, "No event under this id counts for this customer; one that was just sent may yet."
)
USAGE_EVENT_VOIDED: Final = ProblemType(
    "usage_event_voided", 409, "The event was taken away before: send what is to count as an event of its own."
)
USAGE_BUSY: Final = ProblemType(
    "usage_busy", 503, "As much usage as fits into memory is being taken; send it again after Retry-After."
)
USAGE_UNAVAILABLE: Final = ProblemType(
    "usage_unavailable",
    503,
    "The brokers did not say that they have all of the events: send them again after Retry-After, each counts once.",
)
USAGE_ELSEWHERE: Final = ProblemType(
    "usage_taken_elsewhere", 421, "This process takes no usage: send it to the one that runs the role `ingest`."
)
BUSY: Final = ProblemType("busy", 503, "Too many commands wait to be written; retry with the same Idempotency-Key.")
DRY_RUNS_BUSY: Final = ProblemType(
    "dry_runs_busy", 503, "As many dry runs as there may be are under way; retry after the seconds in Retry-After."
)
TOO_MANY_CONNECTIONS: Final = ProblemType(
    "too_many_connections", 503, "There are too many connections or unfinished requests; retry later."
)
UNAVAILABLE: Final = ProblemType(
    "store_unavailable",
    503,
    "The store cannot be reached; retry, a change with the same Idempotency-Key.",
)
GATEWAY_UNAVAILABLE: Final = ProblemType(
    "gateway_unavailable", 503, "The payment gateway does not answer; retry with the same Idempotency-Key."
)
CLOCK_APART: Final = ProblemType(
    "clock_apart", 503, "This server's clock is wrong, so it writes nothing; retry with the same Idempotency-Key."
)
OUTCOME_PENDING: Final = ProblemType(
    "outcome_pending",
    503,
    "The command takes longer than the limit; its outcome comes with the same Idempotency-Key.",
)
READ_MODEL_FILLING: Final = ProblemType(
    "read_model_filling", 503, "This release shows more than its read model holds yet; retry once it is filled."
)
POSITION_NOT_REACHED: Final = ProblemType(
    "position_not_reached",
    503,
    "What can be read has not come to the position asked for yet; retry after Retry-After.",
)
INTERNAL: Final = ProblemType("internal_error", 500, "Something is wrong on our side; it was logged.")

PROBLEM_TYPES: Final = tuple(value for value in globals().copy().values() if isinstance(value, ProblemType))


class FieldError(NamedTuple):
    """One thing wrong with one field: where (`items.0.price`), a stable code, and a sentence."""

    param: str
    code: str
    message: str


class Problem(Exception):
    """A request ends with this problem. `param` names the field or header that it is about."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str = "",
        *,
        param: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Sequence[Header] = (),
        permission: Permission | None = None,
    ) -> None:
        self.kind = kind
        self.detail = detail or kind.title
        self.param = param
        self.errors = errors
        self.headers = headers
        self.permission = permission
        super().__init__(self.detail)

    def reply(self, request_id: str) -> Reply:
        """The problem as it is sent."""
        kind = self.kind
        return _reply(kind, self.detail, self.param, self.errors, request_id, self.headers, self.permission)


def refusal_type(refusal: type[Refusal]) -> ProblemType:
    """The problem that a refusal becomes."""
    summary = (inspect.getdoc(refusal) or refusal.code).splitlines()[0]
    return ProblemType(refusal.code, STATUS_OF_KIND[refusal.kind], summary)


def refusal_reply(refusal: Refusal, request_id: str, *, param: str | None) -> Reply:
    """A refusal as it is sent; `param` is where in the request its field lies."""
    return _reply(refusal_type(type(refusal)), refusal.describe(), param, (), request_id, ())


def unavailable(*, is_command: bool) -> Problem:
    """The store cannot be reached. A question has no key to be repeated with."""
    with_key = " with the same Idempotency-Key" if is_command else ""
    return Problem(UNAVAILABLE, f"The store cannot be reached; retry{with_key}.", headers=retry_after(1))


def retry_after(seconds: int) -> tuple[Header, ...]:
    """The header that tells when to try again."""
    return ((b"retry-after", str(max(1, seconds)).encode()),)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """A 422 that names each field; `param` is the first one's."""
    first = errors[0]
    where = f"{first.param}: " if first.param else ""
    return Problem(INVALID, f"{where}{first.message}", param=first.param or None, errors=errors)


def permission_denied(needed: Permission, *, param: str | None = None) -> Problem:
    """A 403 that names the permission, and who has it."""
    return Problem(PERMISSION_DENIED, f"This needs {needs_told(needed)}.", param=param, permission=needed)


def needs_told(needed: Permission) -> str:
    """The permission, and whose it is, for people."""
    roles, scopes = holders_of(needed)
    of_keys = f"API keys of the scope {' or '.join(scopes)}" if scopes else ""
    of_users = f"users who are {', '.join(roles)}"
    # Who is a member of one tenant asks in that one, unless they say otherwise.
    where = f", with X-Tenant-ID: {PLATFORM}" if roles == [Role.SUPER_ADMIN] else ""
    return f"the permission {needed}, which {' and '.join(filter(None, (of_keys, of_users)))} have{where}"


def _reply(
    kind: ProblemType,
    detail: str,
    param: str | None,
    errors: Sequence[FieldError],
    request_id: str,
    headers: Sequence[Header],
    permission: Permission | None = None,
) -> Reply:
    body: dict[str, object] = {
        "type": f"{PROBLEMS_PATH}#{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
        "param": param,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = [error._asdict() for error in errors]
    if permission is not None:
        body["permission"] = permission
    return Reply(kind.status, (PROBLEM_JSON, *headers), to_json(body))


def catalogue() -> Iterator[ProblemType]:
    """Every problem there is, the edge's own first, then the domain's by code."""
    yield from PROBLEM_TYPES
    # A refusal is known when its module is loaded: load all, so that the list is the same in every process.
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        import_module(module.name)
    seen: set[ProblemType] = set()
    for refusal in sorted(_refusals(Refusal), key=lambda refusal: (refusal.code, refusal.__name__)):
        kind = refusal_type(refusal)
        if kind not in seen:
            seen.add(kind)
            yield kind


def _refusals(base: type[Refusal]) -> Iterator[type[Refusal]]:
    for refusal in base.__subclasses__():
        # Only those of the domain: tests define refusals of their own.
        if refusal.__module__.partition(".")[0] == "domain":
            yield refusal
        yield from _refusals(refusal)


def problems_markdown() -> str:
    """docs/problems.md."""
    lines = [
        "# Problems",
        "",
        "Every error is an `application/problem+json` document of RFC 9457 with `type`, `title`, `status`, `detail`,",
        "`code`, `param` and `request_id`; status 422 adds `errors[]`, one entry per field. Codes are stable: go by",
        "`code`, show `detail` to people. This table is written by `python -m api.http.problems` from the code itself.",
        "",
        "| code | status | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{kind.code}` | {kind.status} | {kind.title.replace('|', chr(92) + '|')} |" for kind in catalogue()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(problems_markdown(), end="")  # noqa: T201  its output is the file
