"""`python -m sandbox_gateway`: the sandbox gateway as a process.

Secrets come from the environment (TALLYBOOK_GATEWAY_API_KEY, TALLYBOOK_GATEWAY_WEBHOOK_SECRETS separated by commas),
never from the command line, where every user of the machine can read them. Once it serves, one line of JSON on
standard output says where. Exit code 2: the port or the store cannot be used; the message says why.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import uvloop

from infra.http.standard_webhooks import listed_secrets
from sandbox_gateway.server import serve
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import StoreNotReadable

API_KEY_VARIABLE = "TALLYBOOK_GATEWAY_API_KEY"
WEBHOOK_SECRETS_VARIABLE = "TALLYBOOK_GATEWAY_WEBHOOK_SECRETS"


def read_settings(arguments: list[str]) -> SandboxServerSettings:
    """Settings from the command line and the environment; wrong ones end the process with a message."""
    defaults = {name: field.default for name, field in SandboxServerSettings.__dataclass_fields__.items()}
    parser = argparse.ArgumentParser(prog="python -m sandbox_gateway", description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the SQLite file; made when it is missing")
    parser.add_argument("--host", default=defaults["host"])
    parser.add_argument("--port", type=int, default=defaults["port"], help="0 takes a free one")
    parser.add_argument("--webhook-url", help="where webhooks go; none are sent without it")
    for name in ("settle_ms", "slow_ms", "hang_ms", "key_retention_ms", "webhook_backoff_ms", "webhook_attempts_max"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=defaults[name])
    given = parser.parse_args(arguments)
    api_key = os.environ.get(API_KEY_VARIABLE, "")
    if not api_key:
        parser.error(f"{API_KEY_VARIABLE} is not set")
    secrets = listed_secrets(os.environ.get(WEBHOOK_SECRETS_VARIABLE, ""))
    if given.webhook_url and not secrets:
        parser.error(f"webhooks are signed: set {WEBHOOK_SECRETS_VARIABLE}")
    return SandboxServerSettings(
        store_path=given.store,
        api_key=api_key,
        host=given.host,
        port=given.port,
        webhook_url=given.webhook_url,
        webhook_secrets=secrets,
        settle_ms=given.settle_ms,
        slow_ms=given.slow_ms,
        hang_ms=given.hang_ms,
        key_retention_ms=given.key_retention_ms,
        webhook_backoff_ms=given.webhook_backoff_ms,
        webhook_attempts_max=given.webhook_attempts_max,
    )


def main() -> int:
    """Run the process; returns its exit code."""
    settings = read_settings(sys.argv[1:])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    def ready(port: int) -> None:
        sys.stdout.write(json.dumps({"event": "sandbox_gateway_ready", "host": settings.host, "port": port}) + "\n")
        sys.stdout.flush()

    try:
        uvloop.run(serve(settings, on_ready=ready))
    except (OSError, StoreNotReadable, ValueError) as error:
        sys.stderr.write(f"the sandbox gateway cannot start: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
