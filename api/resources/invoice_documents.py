"""An invoice as PDF: for whoever may see the invoice, and for whoever has the link to it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.callers import public_url
from api.http.fields import NoBody
from api.http.listing import NoParameters
from api.http.masking import masked
from api.http.operations import Operations
from api.http.problems import (
    DOCUMENT_LINK_INVALID,
    DOCUMENTS_BUSY,
    INVOICE_IMPORTED,
    INVOICE_NOT_FINALIZED,
    Problem,
    retry_after,
)
from api.http.replies import Header, Reply, json_reply
from api.resources.invoices import INVOICES
from documents.electronic_invoice import electronic_invoice
from documents.invoice_document import Document, InvoiceFacts, invoice_document
from documents.renderer import RenderingBusy, tag_of
from domain.identity.permissions import Permission
from domain.invoicing.invoice import INVOICE, InvoiceNotFound
from domain.invoicing.state import Invoice
from infra.identity.document_links import DocumentLink, link_of, link_token
from projections.current import current
from projections.issued import issued
from projections.models import invoices as read

PDF: Final = "application/pdf"
Pdf = Annotated[bytes, WithJsonSchema({"type": "string", "contentMediaType": PDF})]
_NOT_MODIFIED: Final = 304

DOCUMENTS: Final = Operations(
    tag="invoice documents",
    about="Invoices as PDF/A: to be sent, printed and kept.",
    path_ids=INVOICES.path_ids,
    seen_with=Permission.INVOICES_READ,
    changed_with=Permission.INVOICES_WRITE,
)


class PdfLinkResource(TypedDict):
    """A link to an invoice's PDF. Whoever has it needs nothing else, until `expires_at`."""

    object: Literal["pdf_link"]
    invoice: str
    url: str
    expires_at: datetime


@DOCUMENTS.query(
    f"{INVOICES.path_of_one}/pdf",
    answers=Pdf,
    example="%PDF-1.7 …",
    parameters=NoParameters,
    media_type=PDF,
    refusals=(InvoiceNotFound,),
    problems=(INVOICE_NOT_FINALIZED, INVOICE_IMPORTED, DOCUMENTS_BUSY),
)
async def get_invoice_pdf(call: Call, _asked: NoParameters) -> Reply:
    """Get an invoice as PDF.

    In the customer's language, with the seller, the customer and the time zone as they were when the invoice was
    finalized, and what is paid and due as of now. Inside is the same invoice for machines, as far as EN 16931 can say
    it (Factur-X). An invoice in the same state is the same bytes each time: PDF/A-3a, tagged. `ETag` tells whether they
    changed; send it in `If-None-Match`. A draft has no document, nor has an invoice of another system.
    """
    wanted = INVOICES.id_of(call)
    async with call.reading() as connection:
        invoice: Invoice = (await INVOICES.row(call, connection, wanted)).state
    _check_issued(invoice)
    document = await _document(call, call.tenant_id, invoice, is_masked=call.principal.masked)
    if document is None:
        raise Problem(INVOICE_NOT_FINALIZED)
    return await pdf_reply(call, document)


@DOCUMENTS.unstored(
    "POST",
    f"{INVOICES.path_of_one}/pdf-link",
    body=NoBody,
    answers=PdfLinkResource,
    example={
        "object": "pdf_link",
        "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
        "url": "https://billing.example.com/v1/invoice-pdfs/mfrggzdfmztwq2lk…",
        "expires_at": "2026-03-08T12:00:00Z",
    },
    status=201,
    refusals=(InvoiceNotFound,),
    problems=(INVOICE_NOT_FINALIZED, INVOICE_IMPORTED),
)
async def create_invoice_pdf_link(call: Call, _body: NoBody) -> Reply:
    """Make a link to an invoice's PDF, to be sent to its customer.

    Whoever has the link sees that invoice and nothing else, without signing in, for as long as settings say. It is not
    kept, and ends early only with the customer's erasure: send it to nobody else.
    """
    wanted = INVOICES.id_of(call)
    async with call.reading() as connection:
        invoice: Invoice = (await INVOICES.row(call, connection, wanted)).state
    _check_issued(invoice)
    identity, settings = call.parts.identity, call.parts.settings
    until = identity.clock().replace(microsecond=0) + timedelta(seconds=settings.documents.link_s)
    token = link_token(identity.keyring, DocumentLink(call.tenant_id, wanted, until))
    link: PdfLinkResource = {
        "object": "pdf_link",
        "invoice": wanted,
        "url": f"{public_url(settings)}/v1/invoice-pdfs/{token}",
        "expires_at": until,
    }
    return json_reply(201, link)


@DOCUMENTS.query(
    "/v1/invoice-pdfs/{token}",
    answers=Pdf,
    example="%PDF-1.7 …",
    parameters=NoParameters,
    media_type=PDF,
    problems=(DOCUMENT_LINK_INVALID, DOCUMENTS_BUSY),
    is_open=True,
    # It is random, and now and then has digits that would pass for a card number's.
    opaque=("token",),
)
async def open_invoice_pdf(call: Call, _asked: NoParameters) -> Reply:
    """Open the PDF that a link leads to.

    No key is needed. What is wrong with a link that leads nowhere is not told: it is none of ours, is over, or its
    customer was erased.
    """
    identity = call.parts.identity
    link = link_of(identity.keyring, call.path["token"], identity.clock())
    if link is None:
        raise Problem(DOCUMENT_LINK_INVALID)
    async with call.parts.reader.of(link.tenant_id) as connection:
        row = await current(connection, read.TABLE, INVOICE, link.tenant_id, link.invoice_id)
    # Whoever shows a key besides is shown what the link shows anybody.
    document = None if row is None else await _document(call, link.tenant_id, row.state, even_of_erased=False)
    if document is None:
        raise Problem(DOCUMENT_LINK_INVALID)
    return await pdf_reply(call, document)


def _check_issued(invoice: Invoice) -> None:
    """Raises the 409 of one that has no document here."""
    if invoice.finalized_at is None:
        raise Problem(INVOICE_NOT_FINALIZED)
    if invoice.opening is not None:
        raise Problem(INVOICE_IMPORTED)


async def _document(
    call: Call, tenant_id: str, invoice: Invoice, *, even_of_erased: bool = True, is_masked: bool = False
) -> Document | None:
    """What the page says, and the file inside, which nobody gets who sees people masked; None where there is none."""
    facts = await facts_of(call, tenant_id, invoice, even_of_erased=even_of_erased, is_masked=is_masked)
    if facts is None:
        return None
    return replace(invoice_document(facts), xml="" if is_masked else electronic_invoice(facts) or "")


async def facts_of(
    call: Call, tenant_id: str, invoice: Invoice, *, even_of_erased: bool = True, is_masked: bool = False
) -> InvoiceFacts | None:
    """What documents show of an invoice; None where there are none.

    Seller and settings are nobody's own, so they are read on a connection that sees all of the tenant's, once it is
    known that the invoice may be seen.
    """
    person = None
    async with call.parts.reader.of(tenant_id) as connection:
        found = await issued(connection, tenant_id, invoice)
        if found is None or (found.is_erased and not even_of_erased):
            return None
        customer = found.customer
        if customer.personal is not None:
            reference = customer.personal.reference
            person = await call.parts.vault.open(connection, tenant_id, customer.customer_id, reference)
    if person is not None and is_masked:
        shown: dict[str, Any] = masked({"object": "customer", **person})
        person = shown
    return InvoiceFacts(
        invoice=invoice,
        seller=found.seller,
        seller_country=found.seller_country,
        customer=customer,
        person=person,
        is_erased=found.is_erased,
        locale=found.locale,
        time_zone=found.time_zone,
        units=found.units,
        numbers=found.numbers,
    )


async def pdf_reply(call: Call, document: Document) -> Reply:
    """The document, unless whoever asks has these very bytes."""
    tag = f'"{tag_of(document)}"'.encode()
    kept: tuple[Header, ...] = ((b"etag", tag), (b"cache-control", b"private, no-cache"))
    if _has(call.headers.get(b"if-none-match", b""), tag):
        return Reply(_NOT_MODIFIED, kept, b"")
    try:
        made = await call.parts.renderer.pdf(document)
    except RenderingBusy as busy:
        raise Problem(DOCUMENTS_BUSY, headers=retry_after(busy.retry_after_s)) from None
    named = f'inline; filename="{document.file_name}"'.encode("ascii")
    return Reply(200, ((b"content-type", PDF.encode()), (b"content-disposition", named), *kept), made)


def _has(header: bytes, tag: bytes) -> bool:
    """Whether If-None-Match names the tag, or any (RFC 9110 §13.1.2: weak ones compare as the others do)."""
    named = [each.strip().removeprefix(b"W/") for each in header.split(b",")]
    return named == [b"*"] or tag in named
