"""Stragglers: trials that end later where they run than begun anew in a slot that would stay idle."""

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
"""How many times as long a trial must go on as it would take anew: what it has done is lost, and seconds are estimates."""

_LEAST = 1.0
"""Seconds that must be gained: a trial's process has to start, too."""

_AGAIN = 0.02
"""The share of the mean age of trials that passes until they are looked at again; a second at least."""


class Stragglers:
    """Finds running trials for slots that have nothing to do, near the end of a search.

    Each trial is begun anew once at most, and only in a class of another kind than its own.

    Notes
    -----
    J. Dean and S. Ghemawat, *MapReduce: simplified data processing on large clusters* (2004), run such tasks a second time
    beside the first; M. Zaharia and others, *Improving MapReduce performance in heterogeneous environments* (2008), choose
    those that would end last. Here the first attempt is ended, as two at once might write the same files.
    """

    def __init__(self, history: Table) -> None:
        self._history = history
        self._found: Mapping[str, deque[Trial]] = {}
        self._begun_anew: set[int] = set()
        self._next_look = 0.0

    def find(self, slot: Slot, classes: Sequence[ComputeClass], runtime: RuntimeModel, now: float) -> Trial | None:
        """Return the trial that an idle slot of a class should begin anew, if there is one."""
        if now >= self._next_look:
            self._look(classes, runtime, now, slot.trial_timeout)
        found = self._found.get(slot.compute_class)
        while found:
            trial = found[0]
            if self._history.running.get(trial.id) is trial and trial.id not in self._begun_anew:
                return trial
            found.popleft()
        return None

    def moved(self, trial: Trial) -> None:
        """Take note of a trial that was begun anew."""
        self._begun_anew.add(trial.id)

    def _look(self, classes: Sequence[ComputeClass], runtime: RuntimeModel, now: float, trial_timeout: float) -> None:
        """Give each idle slot a trial, those that would end last first, each where it would end soonest."""
        names = [own.name for own in classes]
        running = [trial for trial in self._history.running.values() if trial.compute_class in names]
        self._found = {name: deque() for name in names}
        ages = [age(trial, now) for trial in running]
        self._next_look = now + max(1.0, _AGAIN * sum(ages) / (len(ages) or 1))
        busy = Counter(trial.compute_class for trial in running)
        idle = np.array([own.slots - busy[own.name] for own in classes])
        running = [trial for trial in running if trial.id not in self._begun_anew]
        if not running or not (idle > 0).any():
            return
        left, anew = runtime.remaining(running, names, now, trial_timeout)
        anew[range(len(running)), [names.index(trial.compute_class) for trial in running]] = np.inf
        gains = _gains(left, np.where(idle > 0, anew, np.inf).min(axis=1))
        for place in np.flatnonzero(gains)[np.argsort(-left[gains], kind='stable')]:
            seconds = np.where(idle > 0, anew[place], np.inf)
            column = int(seconds.argmin())
            if _gains(left[place], seconds[column]):
                self._found[names[column]].append(running[place])
                idle[column] -= 1


def _gains(left: Any, anew: Any) -> Any:
    """Return whether it is worth while to begin a trial anew."""
    return (left >= _WORTHWHILE * anew) & (left >= anew + _LEAST)
