"""What has happened so far: every trial's tree, point, loss, seconds and class, as growing arrays."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.records import Trial, TrialState

__all__ = ['History']

Floats = npt.NDArray[np.float64]


class History:
    """Finished trials as columns, and counts of all that was asked.

    Attributes
    ----------
    asked : int
        Trials ever suggested, also those still running.
    running : dict of int to Trial
        Trials that were suggested and have not finished, by number.
    states : Counter of TrialState
        Finished trials by state.

    Notes
    -----
    Appending costs the same whatever has been recorded. Losses are in the direction that is
    minimised; those of failed trials are nan.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.running: dict[int, Trial] = {}
        self.states: Counter[TrialState] = Counter()
        self.classes: list[str] = []
        self._class_numbers: dict[str, int] = {}
        self._asked_in: dict[int, int] = {}
        self._rows: dict[int, array[int]] = {}
        self._trees: list[int] = []
        self._losses = array('d')
        self._seconds = array('d')
        self._classes = array('l')
        self._points = array('d')
        self._offsets = array('q', [0])

    def __len__(self) -> int:
        """Return the number of finished trials."""
        return len(self._losses)

    def ask(self, tree: int) -> None:
        """Note that a trial was suggested in a tree."""
        self.asked += 1
        self._asked_in[tree] = self._asked_in.get(tree, 0) + 1

    def asked_in(self, tree: int) -> int:
        """Return the number of trials ever suggested in a tree."""
        return self._asked_in.get(tree, 0)

    def count(self, tree: int) -> int:
        """Return the number of finished trials of a tree."""
        return len(self._rows.get(tree, ()))

    def append(self, trial: Trial, loss: float) -> None:
        """Note a finished trial; `loss` is in the direction that is minimised, nan when it failed."""
        number = self._class_numbers.setdefault(trial.compute_class, len(self.classes))
        if number == len(self.classes):
            self.classes.append(trial.compute_class)
        rows = self._rows.get(trial.tree)
        if rows is None:
            rows = self._rows[trial.tree] = array('q')
        rows.append(len(self._losses))
        self._trees.append(trial.tree)
        self.states[trial.state] += 1
        self._losses.append(loss)
        self._seconds.append(trial.seconds or 0.0)
        self._classes.append(number)
        self._points.extend(trial.point)
        self._offsets.append(len(self._points))

    def extend(
        self, trees: Sequence[int], losses: array[float], seconds: array[float], classes: Sequence[str],
        points: array[float], lengths: Iterable[int], failed: int,
    ) -> None:  # fmt: skip
        """Note many trials that were asked and finished, as `append` notes each; `points` stand one behind the other."""
        for row, tree in enumerate(trees, len(self)):
            if tree not in self._rows:
                self._rows[tree] = array('q')
            self._rows[tree].append(row)
        for tree, count in Counter(trees).items():
            self._asked_in[tree] = self.asked_in(tree) + count
        for name in dict.fromkeys(classes):
            if name not in self._class_numbers:
                self._class_numbers[name] = len(self.classes)
                self.classes.append(name)
        self.asked += len(trees)
        self.states.update({TrialState.DONE: len(trees) - failed, TrialState.FAILED: failed})
        self._trees.extend(trees)
        self._losses.extend(losses)
        self._seconds.extend(seconds)
        self._classes.extend(map(self._class_numbers.__getitem__, classes))
        self._points.extend(points)
        self._offsets.extend(itertools.islice(itertools.accumulate(lengths, initial=self._offsets[-1]), 1, None))

    @property
    def trees(self) -> list[int]:
        """Numbers of the trees that have finished trials."""
        return list(self._rows)

    def since(self, row: int) -> tuple[list[int], Floats]:
        """Return trees and losses of the trials that finished from number `row` on."""
        return self._trees[row:], np.array(self._losses[row:])

    def trial(self, row: int) -> tuple[int, Floats, float]:
        """Return tree, point and loss of the trial that finished as number `row`."""
        point = self._points[self._offsets[row] : self._offsets[row + 1]]
        return self._trees[row], np.array(point), self._losses[row]

    def losses(self, tree: int | None = None, last: int | None = None) -> Floats:
        """Return losses in order of completion, of one tree or of all; only the `last` so many, if given."""
        return self._column(self._losses, tree, last)

    def seconds(self, tree: int | None = None, last: int | None = None) -> Floats:
        """Return the seconds each trial took, of one tree or of all."""
        return self._column(self._seconds, tree, last)

    def rows(self, tree: int) -> npt.NDArray[np.int64]:
        """Return which trials are of a tree, as numbers in the order of completion."""
        return np.array(self._rows.get(tree, ()), dtype=np.int64)

    def points(self, tree: int, last: int | None = None) -> Floats:
        """Return the points of a tree's finished trials: shape (trials, dimensions)."""
        rows = _latest(self._rows.get(tree, ()), last)
        if not rows:
            return np.empty((0, 0))
        starts = np.frombuffer(self._offsets, dtype='q')[rows]
        length = self._offsets[rows[0] + 1] - self._offsets[rows[0]]
        if not length:
            return np.empty((len(rows), 0))
        # A view must not outlive this call: an array that is looked at cannot grow.
        points: Floats = np.frombuffer(self._points)[starts[:, None] + np.arange(length)]
        return points

    def compute_classes(self, tree: int | None = None, last: int | None = None) -> npt.NDArray[np.int64]:
        """Return indices into `classes`, of one tree's trials or of all."""
        return self._column(self._classes, tree, last)

    def _column(self, column: array[float] | array[int], tree: int | None, last: int | None) -> npt.NDArray[Any]:
        if tree is None:
            return np.array(_latest(column, last), dtype=column.typecode)
        rows = _latest(self._rows.get(tree, ()), last)
        if not rows:
            return np.array([], dtype=column.typecode)
        # A view must not outlive this call: an array that is looked at cannot grow.
        chosen: npt.NDArray[Any] = np.frombuffer(column, dtype=column.typecode)[rows]
        return chosen


def _latest(items: Any, last: int | None) -> Any:
    return items if last is None else items[max(0, len(items) - last) :]
