"""The most that this machine and framework could answer: FastAPI with the same server settings and a trivial handler.

`python -m benchmarks.http_ceiling PORT` serves one POST with the payment's body model, and one GET, from nothing.
"""

from fastapi import FastAPI

from api.resources.payments import EXAMPLE, NewPayment
from benchmarks.bare_server import serve

app = FastAPI(openapi_url=None)


@app.post("/v1/payments", status_code=201)
async def create(body: NewPayment) -> dict[str, object]:
    """The body is parsed and checked, and a resource of the same size goes back."""
    return EXAMPLE | {"amount": {"amount": body.amount.amount, "currency": body.amount.currency}}


@app.get("/v1/payments/{payment_id}")
async def get(payment_id: str) -> dict[str, object]:
    """A resource of the same size."""
    return EXAMPLE | {"id": payment_id}


if __name__ == "__main__":
    serve(app)
