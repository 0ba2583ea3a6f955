"""What usage from end to end is measured against: FastAPI with the same server settings, which hands bodies on.

`python -m benchmarks.usage_end_to_end_bare PORT BOOTSTRAP TOPIC` serves one POST: the body is one record, as it came,
packed as ours are, and the answer goes back once the brokers have it.
"""

import sys

import uvloop
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request

from benchmarks.bare_server import serving
from usage.topic import COMPRESSION

app = FastAPI(openapi_url=None)


@app.post("/v1/usage/events", status_code=202)
async def take(request: Request) -> dict[str, object]:
    """Nothing is looked at."""
    await request.app.state.producer.send_and_wait(sys.argv[3], await request.body())
    return {"object": "usage_events", "accepted": 1_000, "errors": []}


async def main() -> None:
    """Serve until killed."""
    async with AIOKafkaProducer(
        bootstrap_servers=sys.argv[2], acks="all", enable_idempotence=True, compression_type=COMPRESSION
    ) as producer:
        app.state.producer = producer
        await serving(app)


if __name__ == "__main__":
    uvloop.run(main())
