"""Logs and health: one JSON object per line with correlation ids, and what a part of a role says of itself.

Nothing secret or personal is logged: known keys are masked whatever they hold, and so are card numbers, e-mail
addresses, bearer tokens and passwords in URLs, wherever they stand in a text.
"""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from infra.card_numbers import holds_card_number, mask_card_numbers
from infra.settings import TelemetrySettings

MASK = "[masked]"
MASK_DEPTH_MAX = 6
SECRET_WORDS = ("password", "secret", "authorization", "api_key", "apikey", "master_key", "private_key", "token")
PERSONAL_KEYS = frozenset(
    [
        "address",
        "billing_address",
        "birth_date",
        "city",
        "customer_name",
        "email",
        "first_name",
        "full_name",
        "last_name",
        "line1",
        "line2",
        "phone",
        "postal_code",
        "shipping_address",
        "street",
        "tax_id",
        "tax_ids",
        "vat_id",
    ]
)
# Each is tried from the begin of a word alone and gives nothing back, so that a long line costs its length and no more.
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++")
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
UNTRACED_LOGGERS = frozenset(["asyncpg.pool"])
"""Libraries that log a traceback, again and again, of what passes: a server that is away. One line tells as much."""
URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")

_correlation: ContextVar[tuple[str, str]] = ContextVar("correlation", default=("", ""))
"""The correlation id and the causation id of the work in hand. One variable: it is set for every record and run."""


def configure_logging(settings: TelemetrySettings, *, role: str, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's lines to one place, in one form, through one mask. Call once."""
    shared: list[Processor] = [
        _add_correlation,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _with_role(role),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_level(settings)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                _without_trace,
                structlog.stdlib.ExtraAdder(),
                *shared,
            ],
            # The mask comes last, so that it sees all that will be written: other libraries' lines, and tracebacks.
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, mask, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_level(settings))


def _without_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if event["logger"] in UNTRACED_LOGGERS and (raised := event.pop("exc_info", None)):
        event["error"] = f"{type(raised[1]).__name__}: {raised[1]}".removesuffix(": ")
    return event


def _level(settings: TelemetrySettings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level.upper()]


def _with_role(role: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("role", role)
        return event

    return add


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets and personal data in a line, at any depth."""
    return {key: masked(value, key=key) for key, value in event.items()}


def masked(value: object, *, key: str = "", depth: int = 0) -> object:
    """Return the value with what is secret or personal replaced; `key` is the name it stands under."""
    name = key.lower()
    if name in PERSONAL_KEYS or any(word in name for word in SECRET_WORDS):
        return MASK
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return MASK if holds_card_number(str(value)) else value
    if depth >= MASK_DEPTH_MAX:
        return MASK
    if isinstance(value, Mapping):
        return {str(inner): masked(each, key=str(inner), depth=depth + 1) for inner, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(each, depth=depth + 1) for each in value]
    return mask_text(value if isinstance(value, str) else repr(value))


def mask_text(text: str) -> str:
    """Return the text without card numbers, e-mail addresses, bearer tokens and passwords in URLs."""
    text = URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = BEARER.sub(rf"\1 {MASK}", text)
    text = EMAIL.sub(MASK, text)
    return mask_card_numbers(text, MASK)


class correlated:  # noqa: N801  a context manager, used as a verb
    """Put the ids on every line logged inside, across awaits and the tasks started there."""

    __slots__ = ("_ids", "_token")

    def __init__(self, correlation_id: str, *, causation_id: str = "") -> None:
        self._ids = (correlation_id, causation_id)

    def __enter__(self) -> None:
        self._token = _correlation.set(self._ids)

    def __exit__(self, *_: object) -> None:
        _correlation.reset(self._token)


def correlation_id() -> str:
    """Return the correlation id of the work in hand, "" if there is none."""
    return _correlation.get()[0]


def _add_correlation(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for key, value in zip(("correlation_id", "causation_id"), _correlation.get(), strict=True):
        if value:
            event.setdefault(key, value)
    return event


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """One part of a role: whether it works, what is wrong, how far behind it is and how long it took to say so.

    `age_s` is how long ago it was so, where that was told by another process.
    """

    name: str
    ok: bool
    detail: str = ""
    lag_events: int | None = None
    lag_s: float | None = None
    latency_ms: float | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A role's health: it is ready when every part is."""

    role: str
    parts: tuple[PartHealth, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return all(part.ok for part in self.parts)

    def as_json(self) -> dict[str, object]:
        """Return the shape that /health answers with; details are masked, for they may quote an error."""
        parts = [
            {name: value for name, value in asdict(part).items() if value is not None}
            | {"detail": mask_text(part.detail)}
            for part in self.parts
        ]
        return {"status": "ok" if self.ok else "failing", "role": self.role, "parts": parts}


HealthCheck = Callable[[], Awaitable[Health]]


async def timed_part(name: str, check: Callable[[], Awaitable[object]]) -> PartHealth:
    """Run one part's check; an exception is its failure."""
    start = time.perf_counter()
    try:
        await check()
    except Exception as error:
        return PartHealth(name=name, ok=False, detail=f"{type(error).__name__}: {error}".removesuffix(": "))
    return PartHealth(name=name, ok=True, latency_ms=round((time.perf_counter() - start) * 1000, 3))


async def bounded_health(health: HealthCheck, *, timeout_ms: int) -> Health:
    """Ask for health; a check that is silent for too long, or raises, is a failing part, not an error."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await health()
    except TimeoutError:
        detail = f"no answer within {timeout_ms} ms"
    except Exception as error:
        detail = f"{type(error).__name__}: {error}"
    return Health(role="", parts=(PartHealth(name="health", ok=False, detail=detail),))
