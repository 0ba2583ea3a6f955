"""`tallybook auth`: the keys that sign access tokens, and how long it is known who tried to come in."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli.output import AsJson, console_for, print_json, print_rows
from host.addresses import reached_settings
from host.configured import owner_dsn
from infra.clock import system_clock
from infra.database import Role, open_pool
from infra.identity.auth_log import keep_up
from infra.identity.keyring import Keyring
from infra.identity.limits import key_limits
from infra.identity.signing_keys import SigningKeys
from infra.settings import Settings, vault_master_key

app = typer.Typer(help="The keys that sign access tokens, and the auth log.", no_args_is_help=True)


@app.command("rotate-keys")
def rotate_keys(
    *,
    now: Annotated[bool, typer.Option("--now", help="Let another key sign at once, not when it is due.")] = False,
    distrust: Annotated[
        bool,
        typer.Option(
            "--distrust", help="With --now: what earlier keys signed is valid no more. For a key that leaked."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the next signing key if it is due; with --now, let another one sign at once.

    What the key before signed stays valid until it is over, so nobody is logged out. With --distrust it does not:
    programs get new tokens by their refresh tokens.
    [dim]Example:[/dim] [cyan]tallybook auth rotate-keys --now[/cyan]
    """
    if distrust and not now:
        raise typer.BadParameter("--distrust goes with --now: a key that is not trusted cannot go on signing.")
    keys = asyncio.run(_rotate(reached_settings(kafka=False), now=now, distrust=distrust))
    if as_json:
        print_json({"keys": keys})
        return
    print_rows(console_for(as_json=as_json), {"number": "key", "kid": "id", "state": "state"}, keys)


async def _rotate(settings: Settings, *, now: bool, distrust: bool) -> Sequence[dict[str, Any]]:
    pool = await open_pool(owner_dsn(settings), Role.ACCESS, settings.database)
    try:
        signing = SigningKeys(pool, Keyring(vault_master_key(settings)), key_limits(settings.auth))
        if now:
            await signing.rotate(system_clock(), distrust=distrust)
        else:
            await signing.keep_up(system_clock())
        keys = (await signing.at(system_clock())).keys
    finally:
        await pool.close()
    return [{"number": key.number, "kid": key.kid, "state": key.state.value} for key in keys]


@app.command("forget")
def forget(
    *,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Keep this many days; else as TALLYBOOK_AUTH_LOG_DAYS says.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drop what the auth log has of months that are over for long enough: addresses and user agents have an end.

    Every API process does this by itself, once an hour. A month goes as a whole, once its last day is old enough.

    [dim]Example:[/dim] [cyan]tallybook auth forget --days 90[/cyan]
    """
    settings = reached_settings(kafka=False)
    dropped = asyncio.run(_forget(settings, settings.auth.log_days if days is None else days))
    if as_json:
        print_json({"months": dropped})
        return
    console_for(as_json=False).print(f"Months dropped: {dropped}.")


async def _forget(settings: Settings, days: int) -> int:
    pool = await open_pool(owner_dsn(settings), Role.ACCESS, settings.database)
    try:
        return await keep_up(pool, keep_days=days)
    finally:
        await pool.close()
