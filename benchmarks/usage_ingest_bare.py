"""What usage ingest is measured against: FastAPI with the same server settings that reads the same body and says so.

`python -m benchmarks.usage_ingest_bare PORT` serves one POST, from nothing.
"""

import sys

import uvicorn
import uvloop
from fastapi import FastAPI, Request

from infra.settings import ApiSettings

app = FastAPI(openapi_url=None)


@app.post("/v1/usage/events", status_code=202)
async def take(request: Request) -> dict[str, object]:
    """The body is read, and an answer of the same size goes back."""
    await request.body()
    return {"object": "usage_events", "accepted": 1_000, "errors": []}


def main() -> None:
    """Serve until killed."""
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
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
