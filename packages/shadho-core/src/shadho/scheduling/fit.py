"""Which trees fit in which classes, as far as their trials have shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.records import ComputeClass, Trial
from shadho.scheduling.layout import Layout
from shadho.scheduling.runtime import INFEASIBLE, UNFIT, RuntimeModel
from shadho.table import Table

__all__ = ['Fit']

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Fit:
    """Keeps trees waiting of which it is not known yet whether, or for how long, they run in a class.

    Parameters
    ----------
    history : Table
    runtime : RuntimeModel
        Counts the trials that fitted and those that did not.

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
        """Count for the trees and classes of a new plan."""
        is_same, self._layout = layout.is_like(self._layout), layout
        indices, names = list(layout.columns), list(layout.rows)
        self._is_doubtful = _have_less(layout.classes) & (len(indices) > 1)  # a single tree has nothing to wait for
        self._has_fitted = self._runtime.has_fitted(indices, names).T
        self._failures = self._runtime.failures(indices, names).T
        self.has_failures = bool(self._failures.any())
        if not is_same:
            self._running = np.zeros(layout.shape)
            for trial in self._history.running.values():
                self.begun(trial)

    def begun(self, trial: Trial) -> None:
        """Count an attempt that runs."""
        place = self._layout.place(trial)
        if place is not None:
            self._running[place] += 1

    def ended(self, trial: Trial) -> bool:
        """Take in how an attempt ended; return whether the plan should be replaced, as a trial did not fit."""
        place = self._layout.place(trial)
        if place is None:
            return False
        self._running[place] -= 1
        if not trial.is_finished:
            return False
        kind = '' if trial.error is None else trial.error.kind
        if kind in UNFIT:
            self._failures[place] += 1
            self.has_failures = True
            return not self._has_fitted[place] and (self._failures[place] == 1 or self._failures[place] >= INFEASIBLE)
        if kind != 'lost':
            self._has_fitted[place] = True
        return False

    def asks(self, row: int) -> bool:
        """Whether any tree may have to wait in a class."""
        return self.has_failures or bool(self._is_doubtful[row])

    def blocked(self, row: int) -> Flags:
        """Return the trees that may not fit in a class, and of which enough trials run there to tell."""
        probes = np.maximum(INFEASIBLE - self._failures[row], 1)
        is_doubtful = ~self._has_fitted[row] & (self._is_doubtful[row] | (self._failures[row] > 0))
        blocked: Flags = is_doubtful & (self._running[row] >= probes)
        return blocked

    def fitted(self, row: int) -> Flags:
        """Return the trees of which a trial fitted in a class."""
        fitted: Flags = self._has_fitted[row]
        return fitted

    def slow_perhaps(self, row: int) -> Flags:
        """Return the trees whose first trial in a class runs, while others have come back elsewhere.

        Without priorities only the number of trials counts, and such trees would take slots before it is known for how long.
        """
        waits: Flags = ~self._has_fitted[row] & (self._running[row] > 0)
        return waits & self._has_fitted.any(axis=0)


def _have_less(classes: Sequence[ComputeClass]) -> Flags:
    """Say in which classes a trial may not fit that fits elsewhere: those of less memory, or with GPUs of unlike models."""
    memory = np.array([each.resources.get('memory') or each.hardware.memory for each in classes])
    have_gpus = np.array([bool(each.hardware.gpus) for each in classes], dtype=bool)
    models = {model for each in classes for model in each.hardware.gpus}
    lacking: Flags = (memory < memory.max(initial=0)) | (have_gpus & (len(models) > 1))
    return lacking
