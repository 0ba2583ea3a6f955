"""`tallybook relay`: how far publishing has come, and publishing everything once more."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.output import AsJson, print_json, print_rows, print_table
from infra.settings import Settings

if TYPE_CHECKING:
    from infra.kafka.topics import PublishedTopics

app = typer.Typer(help="The relay that publishes the log to Kafka.", no_args_is_help=True)
console = Console()


@app.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show who leads, how far it is behind the log, and the last position of each topic.

    [dim]Example:[/dim] [cyan]tallybook relay status[/cyan]
    """
    from host.addresses import reached_settings

    state, topics = asyncio.run(_status(reached_settings(kafka=False)))
    if as_json:
        print_json({**state, "lag_events": state["head"] - state["position"], "topics": topics})
        return
    table = Table(title="Relay", show_header=False)
    for name, value in (
        ("leader", f"{state['leader'] or 'none'} ({'leads' if state['is_led'] else 'its lease has run out'})"),
        ("epoch", state["epoch"]),
        ("incarnation", state["incarnation"]),
        ("published up to", state["position"]),
        ("log's head", state["head"]),
        ("lag, events", state["head"] - state["position"]),
    ):
        table.add_row(name, str(value))
    print_table(console, table)
    columns = {"topic": "topic", "partitions": "partitions written", "position": "last position"}
    print_rows(console, columns, topics)


async def _status(settings: Settings) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    from host.addresses import owner_pool

    async with owner_pool(settings) as pool:
        state = await pool.fetchrow(
            "SELECT s.incarnation, s.epoch, s.position, s.partitions, s.leader, s.leader_backend_pid, s.lease_until, "
            "coalesce(s.lease_until > clock_timestamp(), false) AS is_led, h.position AS head "
            "FROM relay.state s, log.head h"
        )
        assert state is not None, "the relay's state and the log's head are one row each"
        topics = await pool.fetch(
            "SELECT topic, count(*) AS partitions, max(position) AS position FROM relay.published "
            "GROUP BY topic ORDER BY topic"
        )
        return dict(state), [dict(row) for row in topics]


@app.command("republish")
def publish_again(
    *,
    topics_dropped: Annotated[
        bool, typer.Option("--drop-topics", help="Delete the published topics first, whatever they hold.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish the whole log once more, as a new incarnation; every consumer starts over by itself.

    Read models are folded anew beside the live ones, and processors do nothing twice. Dead letters are kept.
    [dim]Example:[/dim] [cyan]tallybook relay republish --drop-topics --yes[/cyan]
    """
    from host.addresses import reached_settings

    settings = reached_settings()
    doomed = asyncio.run(_published(settings)) if topics_dropped else ()
    if not yes:
        typer.confirm(_question(settings, doomed), abort=True, err=as_json)
    incarnation = asyncio.run(start_over(settings, drop=topics_dropped))
    if as_json:
        print_json({"incarnation": incarnation, "topics_dropped": list(doomed)})
        return
    console.print(f"Incarnation {incarnation} begins; [cyan]tallybook relay status[/cyan] shows how far it is.")


def _question(settings: Settings, doomed: Sequence[str]) -> str:
    from host.configured import bootstrap

    dropped = (
        f"delete {', '.join(doomed)} on {bootstrap(settings)} with all that they hold, and then " if doomed else ""
    )
    return f"This will {dropped}publish the whole log again. Go on? (--yes does not ask)"


def _topics(settings: Settings) -> "contextlib.AbstractAsyncContextManager[PublishedTopics]":
    from host.configured import bootstrap
    from infra.kafka.topics import published_topics

    kafka = settings.kafka
    return published_topics(bootstrap(settings), prefix=kafka.topic_prefix, request_timeout_ms=kafka.request_timeout_ms)


async def _published(settings: Settings) -> Sequence[str]:
    async with _topics(settings) as topics:
        return topics.names


async def start_over(settings: Settings, *, drop: bool) -> int:
    """Begin a new incarnation, and with `drop` delete the published topics. Returns the incarnation.

    Nothing begins before the brokers have answered. No relay leads while the topics go, and the next leader makes them
    anew; what a former one still writes belongs to an incarnation that is over.
    """
    from host.configured import owner_dsn
    from infra.kafka.republishing import new_incarnation

    async with _topics(settings) as topics, new_incarnation(owner_dsn(settings)) as incarnation:
        if drop:
            await topics.drop()
        return incarnation
