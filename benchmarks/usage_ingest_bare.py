"""What usage ingest is measured against: FastAPI with the same server settings that reads the same body and says so.

`python -m benchmarks.usage_ingest_bare PORT` serves one POST, from nothing.
"""

from fastapi import FastAPI, Request

from benchmarks.bare_server import serve

app = FastAPI(openapi_url=None)


@app.post("/v1/usage/events", status_code=202)
async def take(request: Request) -> dict[str, object]:
    """The body is read, and an answer of the same size goes back."""
    await request.body()
    return {"object": "usage_events", "accepted": 1_000, "errors": []}


if __name__ == "__main__":
    serve(app)
