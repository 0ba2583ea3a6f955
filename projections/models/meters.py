"""Meters, archived or not, with all of their versions."""

from domain.metering.meter import METER, Meter
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    METER,
    Meter,
    name="meters",
    version=1,
    projection=Projection.BILLING,
    indexes=("tenant_id, code",),
)
