"""The server of the API with none of its work: what is measured against it differs by that work alone."""

import sys

import uvicorn
import uvloop
from fastapi import FastAPI

from infra.settings import ApiSettings


def serve(app: FastAPI) -> None:
    """Serve at the port that the command line names, until killed."""
    uvloop.run(serving(app))


async def serving(app: FastAPI) -> None:
    """The same in a loop that runs."""
    config = uvicorn.Config(
        app,
        port=int(sys.argv[1]),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=ApiSettings().idle_timeout_s,
    )
    await uvicorn.Server(config).serve()
