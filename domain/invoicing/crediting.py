"""What a credit note credits of an invoice's lines: never more than is left of a line, or of the whole."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from domain.invoicing.credit_amounts import (
    CreditableLine,
    CreditedLine,
    CreditExceedsLine,
    NothingToCredit,
    after_credit,
    credit_gross,
    credit_net,
    creditable,
    settle_credit,
)
from domain.invoicing.credit_note import (
    Credited,
    CreditExceedsInvoice,
    CreditNoteLine,
    InvalidCredit,
    InvoiceLineNotFound,
    WantedCredit,
)
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxTotal
from domain.invoicing.state import Invoice
from domain.kernel.frozen import replace
from domain.kernel.money import Money, allocate, sum_money
from domain.kernel.rounding import Rounding, round_to_int
from domain.tax.computation import TaxShare


def left_of(invoice: Invoice) -> dict[str, CreditableLine]:
    """The invoice's lines by id, with what of them credit notes in force credited, and other invoices as unused. What
    a credit gives back of a line beside it is gone from that, and nothing is left of the credit.
    """
    lines = {
        line.line_id: creditable(line.line_id, line.net, () if line.tax is None else line.tax.shares)
        for line in invoice.lines
    }
    for line in invoice.lines:
        if line.gives_back is not None and line.gives_back.invoice_id == invoice.invoice_id:
            whole = _rest(lines[line.line_id])
            lines[line.line_id] = after_credit(lines[line.line_id], whole)
            lines[line.gives_back.line_id] = after_credit(lines[line.gives_back.line_id], _given_back_by(whole))
    unused = {each.line_id: each.amount for each in invoice.unused_credits}
    for line in invoice.lines:
        if line.line_id in unused and line.pricing is not None:
            by_amount = credit_gross if line.tax_inclusive else credit_net
            given_back = by_amount(lines[line.line_id], unused[line.line_id], line.pricing.rounding)
            lines[line.line_id] = after_credit(lines[line.line_id], given_back)
    for note in invoice.credit_notes:
        for credit in note.credited.lines if note.is_in_force else ():
            lines[credit.line_id] = after_credit(lines[credit.line_id], credit.as_credit)
    return lines


def credited(invoice: Invoice, wanted: Sequence[WantedCredit], amount: Money | None, rounding: Rounding) -> Credited:
    """What a credit note comes to that credits these lines, or so much of the whole invoice, or all that is left of it.

    Raises InvoiceLineNotFound, InvalidCredit, CreditExceedsLine, CreditExceedsInvoice, NothingToCredit.
    """
    left = left_of(invoice)
    whole = sum_money((line.left for line in left.values()), invoice.currency)
    if amount is not None:
        given = _of_all(left, whole, amount, wanted, rounding)
    elif wanted:
        given = _of_lines(invoice, left, wanted, rounding)
    else:
        given = [_rest(line) for line in left.values()]
    quantities = {each.line_id: each.quantity for each in wanted}
    by_id = {line.line_id: line for line in invoice.lines}
    lines = tuple(
        CreditNoteLine(
            line_id=credit.line_id,
            description=by_id[credit.line_id].description,
            quantity=quantities.get(credit.line_id),
            billed=by_id[credit.line_id].total,
            left=left[credit.line_id].left,
            net=credit.net,
            taxes=credit.taxes,
            is_deferred=by_id[credit.line_id].is_deferred,
        )
        for credit in given
        if not (credit.net.is_zero and credit.total.is_zero)
    )
    total = sum_money((line.total for line in lines), invoice.currency)
    if total.amount <= 0:
        raise NothingToCredit(invoice=invoice.invoice_id)
    if total > whole:
        raise CreditExceedsInvoice(invoice=invoice.invoice_id, wanted=total.amount, left=whole.amount)
    settled = settle_credit(total, invoice.amount_due)
    return Credited(
        lines=lines,
        tax=_tax_of(invoice, lines),
        total=total,
        reduces_due=settled.reduces_due,
        given_back=settled.to_give_back,
        is_opening=invoice.opening is not None,
    )


def _of_all(
    left: dict[str, CreditableLine], whole: Money, amount: Money, wanted: Sequence[WantedCredit], rounding: Rounding
) -> list[CreditedLine]:
    """So much of the whole, tax included, in proportion to what is left of each line; of its deductions, too."""
    if wanted or amount.currency != whole.currency or amount.amount <= 0:
        raise InvalidCredit(amount=amount.amount, currency=amount.currency).at("amount")
    if amount > whole:
        raise CreditExceedsInvoice(wanted=amount.amount, left=whole.amount)
    lines = list(left.values())
    taken = sum_money((line.left for line in lines if line.left.is_negative), whole.currency)
    deducted = Money(round_to_int(Fraction(taken.amount * amount.amount, whole.amount), rounding), whole.currency)
    parts = [
        _of_one_sign(lines, amount - deducted, sign=1),
        _of_one_sign(lines, deducted, sign=-1),
    ]
    grosses = [Money(plus.amount + minus.amount, whole.currency) for plus, minus in zip(*parts, strict=True)]
    return [
        credit_gross(line, gross, rounding) for line, gross in zip(lines, grosses, strict=True) if not gross.is_zero
    ]


def _of_one_sign(lines: Sequence[CreditableLine], amount: Money, *, sign: int) -> list[Money]:
    weights = [max(0, sign * line.left.amount) for line in lines]
    if amount.is_zero:
        return [amount] * len(lines)
    return allocate(amount, weights)


def _of_lines(
    invoice: Invoice, left: dict[str, CreditableLine], wanted: Sequence[WantedCredit], rounding: Rounding
) -> list[CreditedLine]:
    by_id = {line.line_id: line for line in invoice.lines}
    found: list[CreditedLine] = []
    for nth, each in enumerate(wanted):
        line = by_id.get(each.line_id)
        if line is None:
            raise InvoiceLineNotFound(line=each.line_id).at(f"lines.{nth}.line")
        if each.quantity is not None and each.amount is not None:
            raise InvalidCredit(line=each.line_id).at(f"lines.{nth}.amount")
        if any(other.line_id == each.line_id for other in wanted[:nth]):
            raise InvalidCredit(line=each.line_id).at(f"lines.{nth}.line")
        try:
            found.append(_of_line(invoice, line, left[line.line_id], each, rounding))
        except CreditExceedsLine as refused:
            raise refused.at(f"lines.{nth}.{'amount' if each.quantity is None else 'quantity'}") from None
    return found


def _of_line(
    invoice: Invoice, line: InvoiceLine, left: CreditableLine, wanted: WantedCredit, rounding: Rounding
) -> CreditedLine:
    amount = wanted.amount
    if wanted.quantity is not None:
        amount = _share(invoice, line, wanted.quantity, rounding)
    if amount is None:
        return _rest(left)
    if amount.currency != invoice.currency:
        raise InvalidCredit(line=line.line_id, currency=amount.currency)
    by_amount = credit_gross if line.tax_inclusive else credit_net
    return by_amount(left, amount, rounding)


def _share(invoice: Invoice, line: InvoiceLine, quantity: Decimal, rounding: Rounding) -> Money:
    """What that much of a line's quantity came to: the parts of one line sum to the whole, whatever their sizes."""
    if quantity <= 0:
        raise InvalidCredit(line=line.line_id, quantity=str(quantity))
    before = sum(
        (
            credit.quantity
            for note in invoice.credit_notes
            if note.is_in_force
            for credit in note.credited.lines
            if credit.line_id == line.line_id and credit.quantity is not None
        ),
        Decimal(0),
    )
    if before + quantity > line.quantity:
        raise CreditExceedsLine(line_id=line.line_id, wanted=str(quantity), left=str(line.quantity - before))
    whole = line.total if line.tax_inclusive else line.net

    def up_to(reached: Decimal) -> int:
        return round_to_int(whole.amount * Fraction(reached) / Fraction(line.quantity), rounding)

    return Money(up_to(before + quantity) - up_to(before), whole.currency)


def _rest(line: CreditableLine) -> CreditedLine:
    return CreditedLine(line_id=line.line_id, net=line.left_net, taxes=line.left_taxes)


def _given_back_by(credit: CreditedLine) -> CreditedLine:
    """What a credit beside it takes off a line: the same, the other way; it bears the same tax."""
    taxes = tuple(TaxShare(share.rate_id, -share.amount) for share in credit.taxes)
    return CreditedLine(line_id=credit.line_id, net=-credit.net, taxes=taxes)


def _tax_of(invoice: Invoice, lines: Sequence[CreditNoteLine]) -> tuple[TaxTotal, ...]:
    """By the invoice's own rates and reasons, what of each is credited."""
    if invoice.tax is None:
        return ()
    treatment = {line.line_id: line.tax.treatment for line in invoice.lines if line.tax is not None}
    found: list[TaxTotal] = []
    for total in invoice.tax.totals:
        taxable, tax = Money.zero(invoice.currency), Money.zero(invoice.currency)
        for line in lines:
            if total.rate_id is None:
                taxable = taxable + line.net if treatment[line.line_id] is total.treatment else taxable
                continue
            for share in line.taxes:
                if share.rate_id == total.rate_id:
                    taxable, tax = taxable + line.net, tax + share.amount
        if not (taxable.is_zero and tax.is_zero):
            found.append(replace(total, taxable=taxable, tax=tax))
    return tuple(found)
