"""`tallybook usage`: usage events from a file, and those that come in."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.api_client import ApiClient, ApiError
from cli.import_ending import exit_by, stop_on_interrupt, tidy
from cli.import_files import Errors, Reached, digest, errors_file, keep, reached_before
from cli.import_kinds import OF_CUSTOMER
from cli.import_names import Names
from cli.import_progress import import_bar
from cli.key_file import key_in
from cli.line_file import Unreadable
from cli.output import AnswerIsNo, AsJson, console_for, print_json
from cli.reached_api import address_of_api, how_on, reached_api
from cli.usage_file import UsageLine, check_usage_file, parts_of, problems_of, with_customers
from cli.usage_recount import recount
from cli.usage_tail import NoUsage, Tailed, TailedEvent, tail_events
from domain.kernel.identifiers import CUSTOMER
from domain.metering.usage_value import units
from host.addresses import reached_settings
from host.until_stopped import run_until_stopped

KIND: Final = "usage"
PATH: Final = "/v1/usage/events"
WRONG_LINES_SHOWN: Final = 20
SINCE_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

app = typer.Typer(help="Usage events: from a file, as they come in, and counted once more.", no_args_is_help=True)
app.command("recount")(recount)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    file: Path
    url: str
    key: str
    certificate_file: Path | None
    is_dry: bool


@app.command("import")
def import_usage(
    file: Annotated[Path, typer.Argument(help="CSV with a header (.csv), or a JSON object a line.")],
    *,
    key_file: Annotated[Path, typer.Option(help="A file that holds an API key of the scope `write`.")],
    url: Annotated[str | None, typer.Option(help="Where usage is taken; else where the API runs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, and send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send the usage events of a file: id, meter, customer (or customer_external_id), timestamp and properties (CSV:
    properties.NAME).

    The file is looked through before anything is sent. Events that are not taken are told in FILE.errors.ndjson, the
    others are. Ctrl-C stops after those that are under way; the same command goes on from there, and nothing counts
    twice, as each event has an id.
    [dim]Example:[/dim] [cyan]tallybook usage import january.ndjson --key-file acme.key --dry-run[/cyan]
    """
    address, certificate_file = address_of_api(url)
    asked = _Asked(file=file, url=address, key=key_in(key_file), certificate_file=certificate_file, is_dry=dry_run)
    try:
        beginning = Reached(kind=KIND, whose=_whose(asked), sha256=digest(file))
        before = beginning if dry_run else reached_before(beginning, file)
        if before.line == 0:
            before = replace(before, lines=_checked(asked))
        reached = asyncio.run(_import(asked, before))
    except Unreadable as unreadable:
        raise AnswerIsNo(f"{unreadable}; nothing was sent.") from None
    except OSError as error:
        raise AnswerIsNo(f"{file} cannot be read: {error.strerror}; nothing was sent.") from None
    except ApiError as error:
        raise AnswerIsNo(f"The API says no: {error}.{how_on(error, is_dry=dry_run)}") from None
    _report(asked, reached, before=before.line, as_json=as_json)


def _whose(asked: _Asked) -> str:
    return hashlib.sha256(f"{asked.url} {asked.key}".encode()).hexdigest()[:16]


def _checked(asked: _Asked) -> int:
    """How many lines the file has. Raises AnswerIsNo where some are no events at all."""
    check = check_usage_file(asked.file, Errors(asked.file), shown_max=WRONG_LINES_SHOWN)
    if check.wrong:
        told = "\n".join(
            f"line {each.line}: {each.param + ': ' if each.param else ''}{each.message}" for each in check.first_wrong
        )
        raise AnswerIsNo(
            f"{check.wrong} of {check.lines} lines of {asked.file} are no usage events; nothing was sent. "
            f"{errors_file(asked.file)} tells all of them.\n{told}"
        )
    return check.lines


async def _import(asked: _Asked, before: Reached) -> Reached:
    stop = stop_on_interrupt()
    errors = Errors(asked.file, before.errors_bytes)
    async with reached_api(asked.url, asked.key, certificate_file=asked.certificate_file) as api:
        with import_bar(before.lines, "Checking" if asked.is_dry else "Sending") as tell:
            reached = await _send(api, asked, before, errors, tell, stop)
    tidy(asked.file, reached, is_dry=asked.is_dry)
    return reached


async def _send(
    api: ApiClient, asked: _Asked, reached: Reached, errors: Errors, tell: Callable[[int], None], stop: asyncio.Event
) -> Reached:
    tell(reached.imported + reached.failed)
    names = Names(api, OF_CUSTOMER)
    for part in parts_of(asked.file, after=reached.line):
        if stop.is_set():
            break
        named, unknown = await with_customers(part, names)
        refused = await _refused(api, named, is_dry=asked.is_dry) if named else []
        problems = sorted([*unknown, *problems_of(named, refused)], key=lambda each: each.line)
        length = errors.add(problems)
        reached = reached.after(
            part[-1].number, imported=len(part) - len(problems), failed=len(problems), errors_bytes=length
        )
        if not asked.is_dry:
            keep(reached, asked.file)
        tell(reached.imported + reached.failed)
    return reached


async def _refused(api: ApiClient, part: list[UsageLine], *, is_dry: bool) -> list[dict[str, Any]]:
    """What the API says of the events that it does not take."""
    key = hashlib.sha256(repr(part).encode()).hexdigest()[:40]
    try:
        told = await api.post(PATH, [line.event for line in part], key=f"usage-{key}", dry_run=is_dry)
    except ApiError as error:
        if error.code != "usage_events_refused":
            raise
        return [_by_place(each) for each in error.errors]
    answer = told["result"] if told["object"] == "dry_run" else told
    found: list[dict[str, Any]] = answer["errors"]
    return found


def _by_place(error: dict[str, Any]) -> dict[str, Any]:
    """A problem's error, as an answer of which some was taken tells it."""
    place, _, param = str(error["param"]).partition(".")
    return {**error, "index": int(place), "param": param}


def _report(asked: _Asked, reached: Reached, *, before: int, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "dry_run": asked.is_dry,
                "lines": reached.lines,
                "sent": reached.imported,
                "failed": reached.failed,
                "went_on_after_line": before or None,
                "stopped_after_line": None if reached.is_whole else reached.line,
                "errors_file": str(errors_file(asked.file)) if reached.failed else None,
            }
        )
    else:
        would = "would be taken" if asked.is_dry else "taken"
        told = [f"{reached.lines} lines: {reached.imported} {would}, {reached.failed} not."]
        if before:
            told.append(f"This time it went on after line {before}.")
        if reached.failed:
            told.append(f"{errors_file(asked.file)} says why.")
        if not reached.is_whole:
            told.append(f"Stopped after line {reached.line}; the same command goes on from there.")
        console_for(as_json=False).print(" ".join(told), soft_wrap=True)
    exit_by(reached)


@app.command("tail")
def tail(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer's, by id.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only what came in then (UTC) or later.", formats=SINCE_FORMATS),
    ] = None,
    last: Annotated[int, typer.Option(help="So many of those that came before.", min=0, max=10_000)] = 20,
    follow: Annotated[bool, typer.Option(help="Wait for more, until Ctrl-C.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show usage events as the topic has them, the newest last: its own time, whose it is, its meter, what that reads,
    its id, when it came in, which --since goes by, and its properties. With --json and --no-follow one list; following,
    a JSON object a line. What became of each tells `GET /v1/usage/events`.

    [dim]Example:[/dim] [cyan]tallybook usage tail --tenant acme --customer cus_… --since 2026-01-31 --no-follow[/cyan]
    """
    if customer is not None and not customer.startswith(CUSTOMER):
        told = f"{customer} is no customer's id ({CUSTOMER}…): GET /v1/customers?external_id={customer} finds it."
        raise typer.BadParameter(told, param_hint="--customer")
    console = console_for(as_json=False)
    listed: list[dict[str, Any]] = []

    def show(event: TailedEvent) -> None:
        if as_json and not follow:
            listed.append(_document(event))
        elif as_json:
            typer.echo(json.dumps(_document(event), ensure_ascii=False))
        else:
            console.print(_line(event), soft_wrap=True, highlight=False, markup=False)

    try:
        of = Tailed(tenant, customer, None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1000))
        run_until_stopped(tail_events(reached_settings(), show, of=of, last=last, follow=follow))
    except NoUsage as error:
        raise AnswerIsNo(f"{error}.") from None
    if as_json and not follow:
        print_json(listed)


def _document(event: TailedEvent) -> dict[str, Any]:
    told = event.event
    return {
        "tenant": event.tenant_id,
        "id": told.id,
        "kind": told.kind,
        "meter": told.meter,
        "meter_code": event.code,
        "customer": told.customer,
        "timestamp": _time(told.timestamp_us),
        "received_at": _time(event.received_ms * 1000),
        "value": None if told.value is None else _value(told.value),
        "properties": told.properties,
    }


def _line(event: TailedEvent) -> str:
    told = event.event
    value = "" if told.value is None else f" {_value(told.value)}"
    properties = " ".join(f"{name}={text}" for name, text in sorted(told.properties.items()))
    kind = "" if told.kind == "event" else f" [{told.kind}]"
    received = f"(in {_time(event.received_ms * 1000)})"
    whose = f"{event.tenant_id} {told.customer} {event.code or told.meter}"
    return f"{_time(told.timestamp_us)} {whose}{value}{kind} {told.id} {received} {properties}"


def _time(timestamp_us: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=timestamp_us)
    return at.isoformat().replace("+00:00", "Z")


def _value(nanos: int) -> str:
    text = format(units(nanos), "f")
    return text.rstrip("0").rstrip(".")
