"""Credit notes as they are now, of their invoices' streams; `domain.invoicing.credit_note` folds them."""

from domain.invoicing import credit_note
from domain.invoicing.credit_note import CreditNote
from projections.read_model import Projection
from projections.stream_rows import part_model

TABLE = part_model(
    CreditNote,
    credit_note.evolve,
    name="credit_notes",
    version=1,
    projection=Projection.BILLING,
    id_field="credit_note_id",
    events=credit_note.EVENTS,
    beginning="credit_note.issued",
    indexes=(
        "tenant_id, invoice_id, created_at, credit_note_id",
        "tenant_id, customer_id, created_at, credit_note_id",
        "tenant_id, number",
    ),
)
