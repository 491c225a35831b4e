"""Which trees fit in which classes, as far as their trials have shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.records import ComputeClass, Trial
from shadho.scheduling.planner import Plan
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
    All arrays have the shape (classes, trees) of the latest plan.
    """

    def __init__(self, history: Table, runtime: RuntimeModel) -> None:
        self._history = history
        self._runtime = runtime
        self.has_failures = False
        self._plan = Plan((), ())
        self._is_doubtful = np.zeros(0, dtype=bool)
        self._has_fitted = np.zeros((0, 0), dtype=bool)
        self._failures = self._running = np.zeros((0, 0))

    def lay_out(self, plan: Plan) -> None:
        """Count for the trees and classes of a new plan."""
        indices, names = list(plan.places), list(plan.columns)
        is_same, self._plan = plan.is_of(list(self._plan.places), list(self._plan.columns)), plan
        self._is_doubtful = _have_less(plan.classes) & (len(plan.trees) > 1)  # a single tree has nothing to wait for
        self._has_fitted = self._runtime.has_fitted(indices, names).T
        self._failures = self._runtime.failures(indices, names).T
        self.has_failures = bool(self._failures.any())
        if not is_same:
            self._running = np.zeros(plan.mix.shape)
            for trial in self._history.running.values():
                self._count(trial, 1)

    def begun(self, trial: Trial) -> None:
        """Count an attempt that runs."""
        self._count(trial, 1)

    def ended(self, trial: Trial) -> bool:
        """Take in how an attempt ended; return whether the plan should be replaced, as a trial did not fit."""
        self._count(trial, -1)
        place, column = self._plan.places.get(trial.tree), self._plan.columns.get(trial.compute_class)
        if not trial.is_finished or place is None or column is None:
            return False
        kind = '' if trial.error is None else trial.error.kind
        if kind in UNFIT:
            self._failures[column, place] += 1
            self.has_failures = True
            failures = self._failures[column, place]
            return not self._has_fitted[column, place] and (failures == 1 or failures >= INFEASIBLE)
        if kind != 'lost':
            self._has_fitted[column, place] = True
        return False

    def _count(self, trial: Trial, number: int) -> None:
        place, column = self._plan.places.get(trial.tree), self._plan.columns.get(trial.compute_class)
        if place is not None and column is not None:
            self._running[column, place] += number

    def asks(self, column: int) -> bool:
        """Whether any tree may have to wait in a class."""
        return self.has_failures or bool(self._is_doubtful[column])

    def blocked(self, column: int) -> Flags:
        """Return the trees that may not fit in a class, and of which enough trials run there to tell."""
        probes = np.maximum(INFEASIBLE - self._failures[column], 1)
        is_doubtful = ~self._has_fitted[column] & (self._is_doubtful[column] | (self._failures[column] > 0))
        blocked: Flags = is_doubtful & (self._running[column] >= probes)
        return blocked

    def fitted(self, column: int) -> Flags:
        """Return the trees of which a trial fitted in a class."""
        fitted: Flags = self._has_fitted[column]
        return fitted

    def slow_perhaps(self, column: int) -> Flags:
        """Return the trees whose first trial in a class runs, while others have come back elsewhere.

        Without priorities only the number of trials counts, and such trees would take slots before it is known for how long.
        """
        waits: Flags = ~self._has_fitted[column] & (self._running[column] > 0)
        return waits & self._has_fitted.any(axis=0)


def _have_less(classes: Sequence[ComputeClass]) -> Flags:
    """Say in which classes a trial may not fit that fits elsewhere: those of less memory, or with GPUs of unlike models."""
    memory = np.array([each.resources.get('memory') or each.hardware.memory for each in classes])
    have_gpus = np.array([bool(each.hardware.gpus) for each in classes], dtype=bool)
    models = {model for each in classes for model in each.hardware.gpus}
    lacking: Flags = (memory < memory.max(initial=0)) | (have_gpus & (len(models) > 1))
    return lacking
