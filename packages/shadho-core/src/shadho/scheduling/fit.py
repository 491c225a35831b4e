"""Fit: which trees have been shown to run in which compute classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.records import ComputeClass, Trial, TrialState
from shadho.scheduling.layout import Layout
from shadho.scheduling.runtime import INFEASIBLE, UNFIT, RuntimeModel
from shadho.table import Table

__all__ = ['Fit', 'has_fitted']

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Fit:
    """Holds back trees until the first trials show whether, and for how long, they run in a class.

    Parameters
    ----------
    history : Table
    runtime : RuntimeModel
        Counts the trials that fitted and those that failed for lack of memory or by a crash.

    Notes
    -----
    All arrays have the layout of the latest plan.
    """

    def __init__(self, history: Table, runtime: RuntimeModel) -> None:
        self._history = history
        self._runtime = runtime
        self.has_failures = False
        self._layout = Layout()
        self._is_doubtful = np.zeros(0, dtype=bool)
        self._has_fitted = np.zeros((0, 0), dtype=bool)
        self._failures = self._running = np.zeros((0, 0))

    def lay_out(self, layout: Layout) -> None:
        """Adopt the trees and classes of a new plan."""
        is_same, self._layout = layout.is_like(self._layout), layout
        indices, names = list(layout.columns), list(layout.rows)
        self._is_doubtful = _have_less(layout.classes) & (len(indices) > 1)  # holding back a single tree idles slots
        self._has_fitted = self._runtime.has_fitted(indices, names).T
        self._failures = self._runtime.failures(indices, names).T
        self.has_failures = bool(self._failures.any())
        if not is_same:
            self._running = np.zeros(layout.shape)
            for trial in self._history.running.values():
                self.begun(trial)

    def begun(self, trial: Trial) -> None:
        """Count an attempt that begins."""
        place = self._layout.place(trial)
        if place is not None:
            self._running[place] += 1

    def ended(self, trial: Trial) -> bool:
        """Learn from the end of an attempt; return whether it calls for a new plan."""
        place = self._layout.place(trial)
        if place is None:
            return False
        self._running[place] -= 1
        fitted = has_fitted(trial)
        if fitted is False:
            self._failures[place] += 1
            self.has_failures = True
            # The first failure makes the pair doubtful, the third infeasible; those between change nothing.
            return not self._has_fitted[place] and (self._failures[place] == 1 or self._failures[place] >= INFEASIBLE)
        if fitted:
            is_feasible_again = not self._has_fitted[place] and self._failures[place] >= INFEASIBLE
            self._has_fitted[place] = True
            return bool(is_feasible_again)
        return False

    def asks(self, row: int) -> bool:
        """Whether `blocked` can hold back any tree in a class."""
        return self.has_failures or bool(self._is_doubtful[row])

    def blocked(self, row: int) -> Flags:
        """Return the trees that may not fit in a class and have enough trials running there to find out."""
        probes = np.maximum(INFEASIBLE - self._failures[row], 1)
        is_doubtful = ~self._has_fitted[row] & (self._is_doubtful[row] | (self._failures[row] > 0))
        blocked: Flags = is_doubtful & (self._running[row] >= probes)
        return blocked

    def fitted(self, row: int) -> Flags:
        """Return the trees with a trial that fitted in a class."""
        fitted: Flags = self._has_fitted[row]
        return fitted

    def slow_perhaps(self, row: int) -> Flags:
        """Return the trees whose first trial in a class still runs, while others have finished elsewhere.

        They may be slow there. Without priorities, only the number of trials matters, so their slots are better used.
        """
        waits: Flags = ~self._has_fitted[row] & (self._running[row] > 0)
        return waits & self._has_fitted.any(axis=0)


def has_fitted(trial: Trial) -> bool | None:
    """Whether an attempt that has ended shows that its trial fits in its class; None if it shows neither."""
    kind = '' if trial.error is None else trial.error.kind
    if kind == 'lost' or not (trial.is_finished or trial.state is TrialState.PAUSED):
        return None
    return kind not in UNFIT


def _have_less(classes: Sequence[ComputeClass]) -> Flags:
    """Return the classes with less memory than another, or with GPUs if models differ.

    There a trial may not fit that fits elsewhere.
    """
    memory = np.array([each.resources.get('memory') or each.hardware.memory for each in classes])
    have_gpus = np.array([bool(each.hardware.gpus) for each in classes], dtype=bool)
    models = {model for each in classes for model in each.hardware.gpus}  # models differ in memory, which is unknown
    lacking: Flags = (memory < memory.max(initial=0)) | (have_gpus & (len(models) > 1))
    return lacking
