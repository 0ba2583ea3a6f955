"""Bulk: up to a thousand commands in one request, each with a key of its own, answered one by one."""

from typing import Final

from api.http.bulk_body import Bulk, BulkAnswers
from api.http.operations import Operations
from api.http.problems import NOT_TOGETHER, ONE_PERSON_TWICE, PARTLY_DONE
from domain.kernel.refusal import OtherRefused

COMMANDS: Final = Operations(tag="commands", about="Many commands in one request.")


@COMMANDS.bulk(
    "/v1/commands",
    body=Bulk,
    body_example={
        "mode": "each",
        "commands": [
            {
                "idempotency_key": "crm-4711",
                "path": "/v1/customers",
                "body": {"currency": "EUR", "name": "Ada Lovelace"},
            },
            {"idempotency_key": "void-4711", "path": "/v1/invoices/in_01m7ywe9z7e398x54gfbrtqnk7/void"},
        ],
    },
    answers=BulkAnswers,
    example={
        "object": "bulk",
        "mode": "each",
        "succeeded": 0,
        "failed": 1,
        "data": [
            {
                "object": "bulk_answer",
                "idempotency_key": "void-4711",
                "status": 404,
                "position": 42,
                "retry_after_s": None,
                "answer": {"code": "invoice_not_found", "status": 404},
            }
        ],
    },
    refusals=(OtherRefused,),
    problems=(PARTLY_DONE, NOT_TOGETHER, ONE_PERSON_TWICE),
)
def do_commands() -> None:
    """Do up to 1,000 commands.

    Each is what its own request would be, with a key of its own, and is held to the same permissions, limits and
    approvals: a command that was done alone under its key is not done again here, nor the other way round. Each counts
    against the rate limits, and the request as one more. In the mode `each` every command is answered by itself, and a
    repeat does what is left. In the mode `all` they are done in one commit, or none is: then the problem of the first
    one that cannot be done is answered, and its `param` says which that is.
    """
