"""Folding facts into rows in memory: one pass over the facts, each going to the rules that want its type."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from projections.read_model import Fact, Key, ReadModel, Rows, Tally
from schemas.codec import LEDGER_ENTRY

MISSING: Final = object()


class Poison(Exception):
    """A fact that a rule cannot take. `__cause__` says why."""

    def __init__(self, fact: Fact, model: str) -> None:
        self.fact = fact
        self.model = model
        super().__init__(f"{fact.event_type} at position {fact.position} in {model}")


class _Step(NamedTuple):
    """A read model's part in a type of event."""

    apply: Callable[[Rows[Any], Fact], None]
    key_of: Callable[[Fact], Key]
    rows: Rows[Any]
    model: ReadModel[Any]
    tally: Tally | None
    tally_rows: Rows[list[int]]


class Fold:
    """Rows in memory, by read model, and the facts they were folded from so far. Sums are deltas."""

    def __init__(self, models: Sequence[ReadModel[Any]]) -> None:
        self.models = tuple(models)
        self.rows: dict[str, Rows[Any]] = {model.name: {} for model in models}
        self._steps: dict[str, list[_Step]] = {}
        for model in models:
            # Without the read model that it tallies into (a rebuild of one alone), it tallies nothing.
            tally_rows = self.rows.get(model.tallied_by or "")
            tally = None if tally_rows is None else model.tally
            rows = self.rows[model.name]
            step = _Step(model.apply, model.key_of, rows, model, tally, {} if tally_rows is None else tally_rows)
            for event_type in model.events:
                self._steps.setdefault(event_type, []).append(step)
        self.takes_entries = LEDGER_ENTRY in self._steps

    def steps(self, event_type: str) -> Sequence[_Step] | None:
        """What wants an event of this type; a ledger entry is wanted whatever event it came with."""
        return self._steps.get(LEDGER_ENTRY if self.takes_entries else event_type)

    def apply(self, facts: Sequence[Fact]) -> None:
        """Fold in order. Raises Poison; the rows are then of no use."""
        steps_of, entries = self._steps, self._steps.get(LEDGER_ENTRY)
        if not facts:
            return
        try:
            for fact in facts:
                for step in entries or steps_of[fact.event_type]:
                    apply, key_of, rows, _, tally, tally_rows = step
                    if tally is None:
                        apply(rows, fact)
                    else:
                        key = key_of(fact)
                        before = rows.get(key)
                        apply(rows, fact)
                        tally(tally_rows, fact, before, rows[key])
        except Exception as error:
            raise Poison(fact, step.model.name) from error


class CachedFold:
    """A fold of one batch after another over rows that the database holds, with a cache of those it has seen.

    `begin` says which rows must be loaded; `apply` folds; then either `keep` (it was committed) or `drop`.
    """

    def __init__(self, models: Sequence[ReadModel[Any]], *, cached_rows: int) -> None:
        self._fold = Fold(models)
        self._models = {model.name: model for model in models}
        self._cached_rows = cached_rows
        self._cache: dict[str, Rows[Any]] = {model.name: {} for model in models if not model.sums}
        self._before: dict[str, Rows[Any]] = {name: {} for name in self._cache}
        self.wants = self._fold.steps

    def begin(self, facts: Sequence[Fact]) -> dict[str, list[Key]]:
        """The keys of rows to load, by read model. Rows of the cache are in place. Raises Poison."""
        self.drop()
        wanted: dict[str, dict[Key, None]] = {}
        fresh: dict[str, set[Key]] = {}
        for fact in facts:
            for step in self._fold.steps(fact.event_type) or ():
                model = step.model
                if model.sums:
                    continue
                try:
                    key = model.key_of(fact)
                    first = model.begins(fact)
                except Exception as error:
                    raise Poison(fact, model.name) from error
                name = model.name
                if key in step.rows or key in fresh.setdefault(name, set()) or key in wanted.get(name, ()):
                    continue
                row = self._cache[name].get(key, MISSING)
                if row is not MISSING:
                    step.rows[key] = self._before[name][key] = row
                elif first:
                    fresh[name].add(key)
                else:
                    wanted.setdefault(name, {})[key] = None
        return {name: list(keys) for name, keys in wanted.items()}

    def load(self, name: str, rows: Iterable[tuple[Key, Any]]) -> None:
        """Put rows that the database holds in place."""
        for key, row in rows:
            self._fold.rows[name][key] = self._before[name][key] = row

    def apply(self, facts: Sequence[Fact]) -> None:
        """Fold the batch. Raises Poison."""
        self._fold.apply(facts)

    def changed(self) -> dict[str, Rows[Any]]:
        """The rows that the batch made or changed, by read model; of sums what to add."""
        changed: dict[str, Rows[Any]] = {}
        for name, rows in self._fold.rows.items():
            before = self._before.get(name)
            found = rows if not before else {key: row for key, row in rows.items() if before.get(key) is not row}
            if found:
                changed[name] = found
        return changed

    def keep(self) -> None:
        """The batch is committed: its rows are what the database holds."""
        for name, cache in self._cache.items():
            rows = self._fold.rows[name]
            for key, row in rows.items():
                cache.pop(key, None)  # to the end: the oldest go first
                cache[key] = row
            for key in list(islice(cache, max(0, len(cache) - self._cached_rows))):
                del cache[key]
        self.drop()

    def drop(self) -> None:
        """Forget the batch."""
        for rows in self._fold.rows.values():
            rows.clear()
        for rows in self._before.values():
            rows.clear()

    def forget(self) -> None:
        """Forget everything: somebody else may have written."""
        self.drop()
        for rows in self._cache.values():
            rows.clear()
