"""Detection of workers that are slower or faster than the rest of their compute class."""

from __future__ import annotations

import logging
import math
from collections import defaultdict

import attrs

__all__ = ['HostWatch']

log = logging.getLogger('shadho')

_FEWEST = 10
"""Least number of trials of a worker, and of the others of its class, before they are compared. Chosen."""

_CERTAINTY = 5.0
"""Least deviation of a worker, in standard errors. At 5, false alarms stay rare among 10,000 workers."""

_FACTOR = 1.25
"""Least ratio of seconds that is worth a warning: smaller differences hardly change placement. Chosen."""


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
    """Compares each worker with the others of its class, and logs one warning if it differs.

    It compares log seconds, each relative to the mean of the trial's tree in that class.
    """

    def __init__(self) -> None:
        self._hosts: defaultdict[tuple[str, str], _Sums] = defaultdict(_Sums)
        self._classes: defaultdict[str, _Sums] = defaultdict(_Sums)
        self._reported: set[tuple[str, str]] = set()

    def tell(self, compute_class: str, host: str, excess: float) -> None:
        """Learn the log seconds of a trial, relative to the mean of its tree in the class."""
        here, every = self._hosts[compute_class, host], self._classes[compute_class]
        here.add(excess)
        every.add(excess)
        others = every.count - here.count
        if here.count < _FEWEST or others < _FEWEST or (compute_class, host) in self._reported:
            return
        # The worker's trials are left out of the class mean: a busy worker dominates it and would look normal.
        usual = (every.total - here.total) / others
        variance = max((every.squares - here.squares) / others - usual**2, 1e-6)
        apart = here.total / here.count - usual
        error = math.sqrt(variance * (1 / here.count + 1 / others))
        if abs(apart) > max(_CERTAINTY * error, math.log(_FACTOR)):
            self._reported.add((compute_class, host))
            log.warning(
                'the worker %s is %.2g times %s than the others of the compute class %s (%d trials); if the difference '
                'persists, give it a separate compute class', host, math.exp(abs(apart)),
                'slower' if apart > 0 else 'faster', compute_class, here.count,
            )  # fmt: skip
