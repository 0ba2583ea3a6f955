"""How far the read models have come, by the log: what was appended, not what a consumer has last seen of Kafka."""

from dataclasses import dataclass
from typing import Any, Final

from infra.kafka.topics import full_name
from projections.read_model import Projection

# A projection holds everything up to the lowest checkpoint of a partition that has more published than was folded;
# with none of those, everything that the relay has published. While one of its read models stands still, no more than
# that one.
_REACHED: Final = """
SELECT w.projection, h.position AS head, s.position AS published, least(s.position, (
    SELECT min(coalesce(c.position, 0))
    FROM relay.published p
    LEFT JOIN read.projections r ON r.name = w.projection
    LEFT JOIN read.checkpoints c
        ON c.projection = r.name AND c.fold = r.fold AND c.partition = p.partition AND c.incarnation = s.incarnation
    WHERE p.topic = w.topic AND coalesce(c.position, 0) < p.position
), (
    SELECT min(m.stands_at) FROM read.models m WHERE m.projection = w.projection
)) AS position
FROM log.head h, relay.state s, unnest($1::text[], $2::text[]) AS w (projection, topic)
"""
_AGES: Final = """
SELECT e.position, extract(epoch FROM clock_timestamp() - e.recorded_at)::float AS age_s
FROM log.events e WHERE e.position = ANY($1::bigint[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A projection holds every event up to `position`; the relay has published up to `published`, the log ends at
    `head`. `lag_s` is the age of the oldest event that it does not hold.
    """

    head: int
    published: int
    position: int
    lag_s: float = 0.0

    @property
    def lag_events(self) -> int:
        """Events of the log that it may not hold."""
        return self.head - self.position


async def reached(connection: Any, topic_prefix: str, *, ages: bool = False) -> dict[Projection, Reached]:
    """Ask the database. `connection` may be a pool; its role is any that may read the read side's bookkeeping.

    With `ages` also the log is read, which the projector may and a reader may not.
    """
    names = [projection.value for projection in Projection]
    topics = [full_name(topic_prefix, projection.topic) for projection in Projection]
    rows = await connection.fetch(_REACHED, names, topics)
    age_s: dict[int, float] = {}
    if ages and any(row["position"] < row["head"] for row in rows):
        oldest = await connection.fetch(_AGES, [row["position"] + 1 for row in rows])
        age_s = {row["position"]: row["age_s"] for row in oldest}
    return {
        Projection(row["projection"]): Reached(
            head=row["head"],
            published=row["published"],
            position=row["position"],
            lag_s=age_s.get(row["position"] + 1, 0.0),
        )
        for row in rows
    }
