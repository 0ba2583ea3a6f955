"""A credit note as PDF, for whoever may see it."""

from dataclasses import replace
from typing import Final

from api.http.call import Call
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.problems import DOCUMENTS_BUSY
from api.http.replies import Reply
from api.resources.credit_notes import CREDIT_NOTES
from api.resources.invoice_documents import PDF, Pdf, facts_of, pdf_reply
from api.resources.invoices import INVOICES
from documents.credit_note_document import credit_note_document
from documents.electronic_credit_note import electronic_credit_note
from domain.identity.permissions import Permission
from domain.invoicing.credit_note import CreditNoteNotFound, named

CREDIT_NOTE_DOCUMENTS: Final = Operations(
    tag="credit note documents",
    about="Credit notes as PDF/A: to be sent, printed and kept.",
    path_ids=CREDIT_NOTES.path_ids,
    seen_with=Permission.CREDIT_NOTES_READ,
)


@CREDIT_NOTE_DOCUMENTS.query(
    f"{CREDIT_NOTES.path_of_one}/pdf",
    answers=Pdf,
    example="%PDF-1.7 …",
    parameters=NoParameters,
    media_type=PDF,
    refusals=(CreditNoteNotFound,),
    problems=(DOCUMENTS_BUSY,),
)
async def get_credit_note_pdf(call: Call, _asked: NoParameters) -> Reply:
    """Get a credit note as PDF.

    In the customer's language, with the seller and the customer as they are on its invoice, and where its total went as
    of now. Inside is the same credit note for machines, as far as EN 16931 can say it (Factur-X). In the same state it
    is the same bytes each time: PDF/A-3a, tagged, with an `ETag`.
    """
    wanted = CREDIT_NOTES.id_of(call)
    async with call.reading() as connection:
        invoice_id = (await CREDIT_NOTES.row(call, connection, wanted)).state.invoice_id
        invoice = (await INVOICES.row(call, connection, invoice_id)).state
    is_masked = call.principal.masked
    facts = await facts_of(call, call.tenant_id, invoice, is_masked=is_masked)
    assert facts is not None, "what is credited was issued"
    note = named(invoice.credit_notes, wanted)
    xml = "" if is_masked else electronic_credit_note(note, facts) or ""
    return await pdf_reply(call, replace(credit_note_document(note, facts), xml=xml))
