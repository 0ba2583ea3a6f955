"""Changes at one moment net out: what one of them put to the next invoice, another takes from it again."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.invoicing.invoice_line import InvoiceLine
from domain.subscriptions.running import LineRef


@dataclass(frozen=True, slots=True)
class Net:
    """What of a change's lines is left, and which of those that waited are not billed after all.

    `instead` says which line pays for an item in place of a charge that is left out: of its credit that was withdrawn.
    """

    lines: tuple[InvoiceLine, ...]
    withdrawn: tuple[str, ...]
    instead: dict[str, LineRef]


def netted(pending: Sequence[InvoiceLine], lines: Sequence[InvoiceLine]) -> Net:
    """A credit that gives all of a waiting charge back leaves neither; a charge for what a waiting credit gave back,
    the same price for the same time, leaves what was paid before paid.
    """
    touched = {line.gives_back.line_id for line in pending if line.gives_back is not None}
    charges = {line.line_id: line for line in pending if line.gives_back is None and line.line_id not in touched}
    given_back = [line for line in pending if line.gives_back is not None and line.gives_back.invoice_id is not None]
    left: list[InvoiceLine] = []
    withdrawn: list[str] = []
    instead: dict[str, LineRef] = {}
    for line in lines:
        of = line.gives_back
        if of is not None:
            charge = charges.get(of.line_id) if of.invoice_id is None else None
            if charge is not None and charge.amount == -line.amount:
                withdrawn.append(charge.line_id)
                continue
        else:
            credit = next((each for each in given_back if _undoes(line, each)), None)
            if credit is not None and credit.gives_back is not None:
                given_back.remove(credit)
                withdrawn.append(credit.line_id)
                instead[line.line_id] = LineRef(
                    invoice_id=credit.gives_back.invoice_id, line_id=credit.gives_back.line_id
                )
                continue
        left.append(line)
    return Net(tuple(left), tuple(withdrawn), instead)


def _undoes(charge: InvoiceLine, credit: InvoiceLine) -> bool:
    """Whether a charge bills again what the credit gave back."""
    same = (charge.price_id, charge.quantity, charge.period_end, charge.pricing, charge.timing)
    return same == (credit.price_id, credit.quantity, credit.period_end, credit.pricing, credit.timing) and (
        charge.amount == -credit.amount
    )
