"""A closing as it is kept, and which of those before it may be billed late usage of."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, NamedTuple

from usage.partials import Buckets

SEPARATOR: Final = ":"
"""Between an invoice and its line in what a closing is known by."""


class Closing(NamedTuple):
    """A row of usage.closings. Its period's quarter hours are from `first_bucket` to before `end_bucket`, without those
    that closings before it took; `bucket` is the first that no closing has closed by then.
    """

    meter_id: str
    seq: int
    reference: str
    partition: int
    since: datetime
    until: datetime
    charge: str | None
    is_last: bool
    first_bucket: int
    end_bucket: int
    bucket: int
    covers: int
    sha256: bytes

    @property
    def invoice_id(self) -> str:
        """Whose line it is for."""
        return self.reference.partition(SEPARATOR)[0]

    @property
    def buckets(self) -> Buckets:
        return Buckets(self.first_bucket, self.end_bucket)


def told(earlier: Iterable[Closing], closing: Closing, voided: Collection[str]) -> list[Closing]:
    """Those for whose periods a closing may bill late usage: of an invoice that is not void, and the last of its
    charge. One that was not to be ends it where those after it were voided, some of them before they closed anything.
    """
    valid = [each for each in earlier if each.invoice_id not in voided]
    ends = {each.charge: each for each in valid if each.charge != closing.charge} if voided else {}
    return [each for each in valid if each.is_last or ends.get(each.charge) is each]
