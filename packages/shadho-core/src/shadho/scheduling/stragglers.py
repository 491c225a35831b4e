"""Stragglers: running trials that would end sooner if they restarted in an idle slot."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shadho.records import ComputeClass, Trial
from shadho.scheduling.policy import Slot
from shadho.scheduling.runtime import RuntimeModel, age
from shadho.table import Table

__all__ = ['Stragglers']

_WORTHWHILE = 1.2
"""Least ratio of a trial's remaining seconds to its seconds after a restart. A restart loses progress and relies on
estimates; a higher ratio leaves slots idle. Chosen."""

_LEAST = 1.0
"""Least gain of a restart in seconds: below, starting the process may cost more. Chosen."""

_AGAIN = 0.02
"""Interval between searches for stragglers, as a fraction of the mean age of running trials. It is at least 1 s. Shorter
intervals cost time in the driver, longer ones leave slots idle. Chosen."""


class Stragglers:
    """Finds running trials that idle slots take over near the end of a search.

    Each trial restarts at most once, and only in another class.

    Notes
    -----
    J. Dean and S. Ghemawat, *MapReduce: simplified data processing on large clusters* (2004), run a second copy of such
    tasks; M. Zaharia et al., *Improving MapReduce performance in heterogeneous environments* (2008), choose those that would
    end last. Here the first attempt ends before the restart, as two copies might write the same files.
    """

    def __init__(self, history: Table) -> None:
        self._history = history
        self._found: Mapping[str, deque[Trial]] = {}
        self._restarted: set[int] = set()
        self._next_look = 0.0

    def find(self, slot: Slot, classes: Sequence[ComputeClass], runtime: RuntimeModel, now: float) -> Trial | None:
        """Return the trial that an idle slot should take over; None if there is none."""
        if now >= self._next_look:  # predictions for all running trials are too slow for every idle slot
            self._look(classes, runtime, now, slot.trial_timeout)
        found = self._found.get(slot.compute_class)
        while found:
            trial = found[0]
            # The list may be old: skip trials that have ended or have another attempt by now.
            if self._history.running.get(trial.id) is trial and trial.id not in self._restarted:
                return trial
            found.popleft()
        return None

    def moved(self, trial: Trial) -> None:
        """Record that a trial has moved, so that it does not move again."""
        self._restarted.add(trial.id)

    def _look(self, classes: Sequence[ComputeClass], runtime: RuntimeModel, now: float, trial_timeout: float) -> None:
        """Assign trials to idle slots: the last to end first, each where it would end soonest."""
        names = [compute_class.name for compute_class in classes]
        running = [trial for trial in self._history.running.values() if trial.compute_class in names]
        self._found = {name: deque() for name in names}
        ages = [age(trial, now) for trial in running]
        self._next_look = now + max(1.0, _AGAIN * sum(ages) / (len(ages) or 1))
        busy = Counter(trial.compute_class for trial in running)
        idle = np.array([compute_class.slots - busy[compute_class.name] for compute_class in classes])
        running = [trial for trial in running if trial.id not in self._restarted]
        if not running or not (idle > 0).any():
            return
        left, restarted = runtime.remaining(running, names, now, trial_timeout)
        # A restart in the same class loses progress and gains nothing.
        restarted[range(len(running)), [names.index(trial.compute_class) for trial in running]] = np.inf
        gains = _gains(left, np.where(idle > 0, restarted, np.inf).min(axis=1))
        # The trial that would end last decides when the search ends, so it chooses its slot first.
        for place in np.flatnonzero(gains)[np.argsort(-left[gains], kind='stable')]:
            seconds = np.where(idle > 0, restarted[place], np.inf)
            column = int(seconds.argmin())
            if _gains(left[place], seconds[column]):
                self._found[names[column]].append(running[place])
                idle[column] -= 1


def _gains(left: Any, restarted: Any) -> Any:
    """Return whether a restart is worthwhile, from the remaining seconds and those after a restart."""
    return (left >= _WORTHWHILE * restarted) & (left >= restarted + _LEAST)
