"""Approvals: what waits for a second person, and what became of what did."""

from domain.approvals.approval import APPROVAL, Approval
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    APPROVAL,
    Approval,
    name="approvals",
    version=1,
    projection=Projection.BILLING,
    sorted_by="requested_at",
    indexes=("tenant_id, status, requested_at, approval_id",),
)
