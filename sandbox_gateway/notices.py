"""What the gateway has to tell: events, kept for ever and listed, and the deliveries still owed."""

import json

from sandbox_gateway.faults import Faults
from sandbox_gateway.store import Store

EVENT_PREFIX = "evt"
encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Notices:
    """Writes events in the batch of what they tell, so that neither is ever without the other."""

    def __init__(self, store: Store, faults: Faults, *, delivering: bool) -> None:
        self._store = store
        self._faults = faults
        self._delivering = delivering
        self.new_deliveries = False
        """Set when a delivery was added; whoever delivers takes it back."""

    def add(self, kind: str, shown: dict[str, object]) -> None:
        """Note that something happened to the object `shown`."""
        now_ms = self._store.now_ms()
        seq = self._store.insert(
            "INSERT INTO events (kind, body, created_ms) VALUES (?, ?, ?)", (kind, encode(shown), now_ms)
        )
        if not self._delivering:
            return
        for delay_ms in self._faults.delivery_delays_ms(self._store.name_of(EVENT_PREFIX, seq)):
            self._store.execute("INSERT INTO deliveries (event_seq, due_ms) VALUES (?, ?)", (seq, now_ms + delay_ms))
            self.new_deliveries = True

    def message(self, seq: int, kind: str, body: str, created_ms: int) -> tuple[str, bytes]:
        """Id and body of a stored event: the same bytes at every delivery."""
        event_id = self._store.name_of(EVENT_PREFIX, seq)
        text = f'{{"id":"{event_id}","type":"{kind}","created_ms":{created_ms},"data":{body}}}'
        return event_id, text.encode()

    def listed(self, after_seq: int, rows_max: int) -> bytes:
        """A page of events behind `after_seq`, oldest first."""
        rows = self._store.execute(
            "SELECT seq, kind, body, created_ms FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
            (after_seq, rows_max + 1),
        ).fetchall()
        page = rows[:rows_max]
        following = page[-1][0] if len(rows) > rows_max else None
        messages = b",".join(self.message(*row)[1] for row in page)
        return b'{"data":[%b],"next_after":%b}' % (messages, encode(following).encode())
