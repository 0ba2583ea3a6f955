"""All invariants in one run, in the report's order."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.catalogue import STREAMS
from gateway_adapters.port import Gateway
from infra.database import Pool
from infra.settings import Settings
from processors.invariants.access import check_access
from processors.invariants.entries import check_entries
from processors.invariants.findings import Checked, Invariant, Progress, silent
from processors.invariants.gateway import check_gateway
from processors.invariants.kafka_topics import check_kafka
from processors.invariants.log_integrity import Acknowledged, check_log
from processors.invariants.read_models import check_read_models
from processors.invariants.unfinished import check_unfinished
from processors.invariants.usage import check_usage
from schemas.codec import Codec, default_codec

EVERY_INVARIANT: tuple[Invariant, ...] = tuple(Invariant)

Watch = Callable[[Invariant], Progress]


def unwatched(_invariant: Invariant) -> Progress:
    """No progress for anybody."""
    return silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """Where the parts of a live system are. The pool's role is the owner's: it reads every schema."""

    pool: Pool
    settings: Settings
    gateways: Mapping[str, Gateway]
    bootstrap: str
    owner_dsn: str


async def audit(
    parts: Audited,
    *,
    only: Collection[Invariant] = EVERY_INVARIANT,
    acknowledged: Sequence[Acknowledged] = (),
    grace: timedelta = timedelta(0),
    watch: Watch = unwatched,
) -> AsyncIterator[Checked]:
    """Check one invariant after the other. `acknowledged` is what clients hold; `grace`: see `check_unfinished`."""
    codec: Codec = default_codec()
    found: dict[Invariant, Checked] = {}
    for invariant in EVERY_INVARIANT:
        if invariant not in only:
            continue
        if invariant not in found:
            found |= await _check(invariant, only, parts, codec, acknowledged, grace, watch(invariant))
        yield found[invariant]


async def _check(
    invariant: Invariant,
    wanted: Collection[Invariant],
    parts: Audited,
    codec: Codec,
    acknowledged: Sequence[Acknowledged],
    grace: timedelta,
    progress: Progress,
) -> dict[Invariant, Checked]:
    """What this invariant comes to, and what others do that take the same walk over the log."""
    pool = parts.pool
    match invariant:
        case Invariant.GATEWAY:
            checked = await check_gateway(pool, codec, parts.gateways, progress=progress)
        case Invariant.LOG:
            checked = await check_log(pool, acknowledged=acknowledged, progress=progress)
        case Invariant.READ_MODELS:
            checked = await check_read_models(parts.settings, owner_dsn=parts.owner_dsn, progress=progress)
        case Invariant.KAFKA:
            checked = await check_kafka(
                pool, STREAMS, bootstrap=parts.bootstrap, kafka=parts.settings.kafka, progress=progress
            )
        case Invariant.SAGAS:
            checked = await check_unfinished(pool, codec, grace=grace, progress=progress)
        case Invariant.USAGE:
            checked = await check_usage(pool, codec, progress=progress)
        case Invariant.ACCESS:
            checked = await check_access(pool, codec, progress=progress)
        case Invariant.BOOKS | Invariant.DOCUMENTS:
            return await check_entries(pool, codec, wanted, progress=progress)
    return {invariant: checked}
