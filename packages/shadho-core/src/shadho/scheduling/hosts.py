"""Workers that turn out slower or faster than the others of their compute class."""

from __future__ import annotations

import logging
import math
from collections import defaultdict

import attrs

__all__ = ['HostWatch']

log = logging.getLogger('shadho')

_FEWEST = 10
"""Trials of a worker before anything is said of it."""

_CERTAINTY = 5.0
"""Standard errors that a worker must lie off: among ten thousand, none does by chance."""

_FACTOR = 1.25
"""By which a worker must differ at least to be worth a line in the log."""


@attrs.define
class _Sums:
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value


class HostWatch:
    """Compares each worker with the others of its class, and says once when it differs.

    What is compared are logarithms of seconds, less what is usual for the tree in that class.
    """

    def __init__(self) -> None:
        self._hosts: defaultdict[tuple[str, str], _Sums] = defaultdict(_Sums)
        self._classes: defaultdict[str, _Sums] = defaultdict(_Sums)
        self._told: set[tuple[str, str]] = set()

    def tell(self, compute_class: str, host: str, excess: float) -> None:
        """Learn by how much the logarithm of a trial's seconds was above the usual."""
        own, every = self._hosts[compute_class, host], self._classes[compute_class]
        own.add(excess)
        every.add(excess)
        others = every.count - own.count
        if own.count < _FEWEST or others < _FEWEST or (compute_class, host) in self._told:
            return
        usual = (every.total - own.total) / others
        variance = max((every.squares - own.squares) / others - usual**2, 1e-6)
        apart = own.total / own.count - usual
        error = math.sqrt(variance * (1 / own.count + 1 / others))
        if abs(apart) > max(_CERTAINTY * error, math.log(_FACTOR)):
            self._told.add((compute_class, host))
            log.warning(
                'the worker %s is %.2g times %s than the others of the compute class %s (%d trials); if that is to last, '
                'give it a class of its own', host, math.exp(abs(apart)), 'slower' if apart > 0 else 'faster',
                compute_class, own.count,
            )  # fmt: skip
