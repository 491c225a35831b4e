"""Rungs: the losses of trials at one step, and which of them are among the best."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from shadho.checks import as_integer
from shadho.errors import ConfigurationError

__all__ = ['Entry', 'Rung', 'check_option', 'ladder']

Entry = tuple[float, int]
"""A minimised loss, and the id of its trial, which breaks ties."""


class Rung:
    """The losses of trials at one step, and which of the trials are paused there.

    Parameters
    ----------
    eta : int
        The best 1/eta of the trials may go on.
    """

    def __init__(self, eta: int) -> None:
        self.eta = eta
        self._best: list[Entry] = []  # heap of negated entries: the worst of the best comes first
        self._rest: list[Entry] = []
        self._paused: list[Entry] = []
        self._gone: set[int] = set()  # resumed trials that are still in the heap

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self._best) + len(self._rest)

    def add(self, entry: Entry) -> None:
        """Add a trial, in time logarithmic in their number."""
        if self.admits(entry):
            entry = _negated(heapq.heappushpop(self._best, _negated(entry)))
        heapq.heappush(self._rest, entry)
        if len(self._best) < len(self) // self.eta:
            heapq.heappush(self._best, _negated(heapq.heappop(self._rest)))

    def admits(self, entry: Entry) -> bool:
        """Whether an entry is among the best; none is until there are `eta` trials, so that the first ones have rivals."""
        return bool(self._best) and entry <= _negated(self._best[0])

    def pause(self, entry: Entry) -> None:
        """Add a paused trial."""
        heapq.heappush(self._paused, entry)

    def resume(self, trial: int) -> None:
        """Remove a paused trial."""
        self._gone.add(trial)
        while self._paused and self._paused[0][1] in self._gone:
            self._gone.remove(heapq.heappop(self._paused)[1])

    def promotable(self) -> Iterator[int]:
        """Yield the ids of paused trials that are among the best, the best first."""
        seen: list[Entry] = []
        try:
            while self._paused and self.admits(self._paused[0]):
                seen.append(heapq.heappop(self._paused))
                if seen[-1][1] not in self._gone:
                    yield seen[-1][1]
        finally:
            for entry in seen:
                heapq.heappush(self._paused, entry)


def _negated(entry: Entry) -> Entry:
    return -entry[0], -entry[1]


def ladder(first: int, last: int, eta: int) -> list[int]:
    """Return steps that grow by a factor, from at least `first` up to `last`.

    Examples
    --------
    >>> ladder(1, 81, 3), ladder(1, 100, 3), ladder(5, 40, 4)
    ([1, 3, 9, 27, 81], [1, 4, 11, 33, 100], [10, 40])
    """
    count = math.floor(math.log(last / first, eta) + 1e-9)
    return sorted({round(last / eta**k) for k in range(count + 1)})


def check_option(fidelity: str, name: str, value: object, least: int, most: int = 10**9) -> int:
    """Return an option that is a whole number within limits; ConfigurationError otherwise."""
    number = as_integer(value)
    if number is None or not least <= number <= most:
        bounds = f'from {least} to {most:,}' if most < 10**9 else f'of {least} or more'
        raise ConfigurationError(
            f'fidelity={fidelity!r}: {name} must be an integer {bounds}; got {value!r}. Give it as '
            f'fidelity_options={{{name!r}: {least}}}'
        )
    return number
