"""What a log holds apart from parameters and results, as columns: enough to choose trials by."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.goal import Goal
from shadho.records import LATEST, Result, Trial
from shadho.table import Table

__all__ = ['LogIndex', 'index_records', 'index_rows']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_CHUNK = 4096
"""Points whose texts are read at once: more would not be quicker, and need memory."""


class LogIndex:
    """Finished trials of a log as columns, in the order of completion, and where the records of all trials are.

    A trial that was handed out more than once counts as it was handed out last.

    Attributes
    ----------
    numbers : array of int
        Ids of the finished trials.
    trials, results : array of int
        Positions of the two records of each.
    trees : list of int
    classes : list of str
        Names of compute classes.
    failed : bytearray
        1 where the trial failed.
    losses : array of float
        In the user's own sign; nan where the trial failed.
    started, finished, seconds : array of float
        As in `shadho.records.Result`.
    points, offsets : array of float, array of int
        Point k stands between ``offsets[k]`` and ``offsets[k + 1]``.
    running, waiting : dict of int to int
        Positions of trials that have not finished, by their ids: handed out; and taken back since, as their worker
        vanished or they were cancelled.
    latest : float
        The greatest time of all records, in seconds.
    """

    def __init__(self) -> None:
        self.numbers = array('q')
        self.trials = array('q')
        self.results = array('q')
        self.trees: list[int] = []
        self.classes: list[str] = []
        self.failed = bytearray()
        self.losses = array('d')
        self.started = array('d')
        self.finished = array('d')
        self.seconds = array('d')
        self.points = array('d')
        self.offsets = array('q', [0])
        self.running: dict[int, int] = {}
        self.waiting: dict[int, int] = {}
        self.latest = 0.0

    def __len__(self) -> int:
        """Return the number of finished trials."""
        return len(self.numbers)

    def hand_out(self, position: int, number: int, started: float | None) -> None:
        """Note a trial that is handed out, maybe again."""
        self.waiting.pop(number, None)
        self.running.pop(number, None)
        self.running[number] = position
        if started is not None and started > self.latest:
            self.latest = started

    def take_back(self, number: int, finished: float) -> None:
        """Note that a trial is to be run again."""
        position = self.running.pop(number, None)
        if position is not None:
            self.waiting[number] = position
        self.latest = max(self.latest, finished)

    def finish(
        self, position: int, number: int, tree: int, compute_class: str, loss: float | None,
        started: float, finished: float, seconds: float,
    ) -> None:  # fmt: skip
        """Note a result; the trial's point is to be added to `points`. One without a loss has failed."""
        self.trials.append(self.running.pop(number) if number in self.running else self.waiting.pop(number))
        self.results.append(position)
        self.numbers.append(number)
        self.trees.append(tree)
        self.classes.append(compute_class)
        self.failed.append(loss is None)
        self.losses.append(math.nan if loss is None else loss)
        self.started.append(started)
        self.finished.append(finished)
        self.seconds.append(seconds)
        if finished > self.latest:
            self.latest = finished

    def add_points(self, points: Sequence[Sequence[float]]) -> None:
        """Add the points of trials that were finished."""
        for point in points:
            self.points.extend(point)
            self.offsets.append(len(self.points))

    def lengths(self) -> Integers:
        """Return the number of coordinates of each point."""
        return np.diff(np.array(self.offsets))

    def minimised(self, direction: str) -> Floats:
        """Return losses in the direction that is minimised."""
        return Goal(direction=direction).sign * np.array(self.losses)

    def leaders(self, count: int, direction: str) -> list[int]:
        """Return rows of the best trials that are done, at most so many; the earliest of equals first."""
        losses = self.minimised(direction)
        done = np.flatnonzero(~np.isnan(losses))
        if len(done) > count:  # a million need not be sorted
            done = done[losses[done] <= np.partition(losses[done], count - 1)[count - 1]]
        rows: list[int] = done[np.argsort(losses[done], kind='stable')][:count].tolist()
        return rows

    def history(self, direction: str, running: Iterable[Trial] = ()) -> Table:
        """Return the finished trials as a search keeps them, with those that were asked and have not finished."""
        history = Table()
        history.extend(
            self.trees, array('d', self.minimised(direction).tobytes()), self.seconds, self.classes, self.points,
            self.lengths().tolist(), sum(self.failed),
        )  # fmt: skip
        for trial in running:
            history.ask(trial.tree)
            history.running[trial.id] = trial
        return history


def index_records(log: Iterable[tuple[int, Trial | Result, Trial]]) -> LogIndex:
    """Index records as `shadho.storage.replay` yields them."""
    index = LogIndex()
    for position, record, trial in log:
        if isinstance(record, Trial):
            index.hand_out(position, record.id, record.started)
        elif trial.is_finished:
            index.finish(
                position, trial.id, trial.tree, trial.compute_class, record.loss, record.started, record.finished,
                record.seconds,
            )  # fmt: skip
            index.add_points([trial.point])
        else:
            index.take_back(record.trial, record.finished)
    return index


def index_rows(rows: Iterable[tuple[Any, ...]]) -> LogIndex:
    """Index the rows of a log whose records are not read, which takes a tenth of the time.

    Parameters
    ----------
    rows : iterable of tuple
        Position, number of the trial and of the attempt, tree, point, compute class and `started` of a trial, or of a result,
        then its state, loss, `finished` and `seconds`; None in place of the others. In order.

    Raises
    ------
    ValueError, TypeError, LookupError, ArithmeticError
        Where anything is odd: then the records are to be read and checked one by one, as `replay` does.
    """
    index = LogIndex()
    known: dict[int, tuple[str, str, str, int]] = {}
    points: list[str] = []
    asked = last = 0
    for position, number, attempt, tree, point, compute_class, started, state, loss, finished, seconds in rows:
        if position <= last or not -LATEST < (started or 0.0) < LATEST:
            raise ValueError
        last = position
        if state is None:
            own = known.get(number, (tree, point, '', -1) if number == asked else ('', '', '', 0))
            if own[:2] != (tree, point) or attempt <= own[3]:
                raise ValueError
            asked += number == asked
            known[number] = tree, point, compute_class, attempt
            index.hand_out(position, number, started)
            continue
        if number not in index.running or attempt not in (None, known[number][3]):
            raise ValueError
        if state in ('done', 'failed'):
            tree, point, compute_class, _ = known.pop(number)
            if (loss is None) is (state == 'done') or not _are_times(finished, seconds):
                raise ValueError
            index.finish(
                position, number, int(tree), compute_class, loss, started or 0.0, finished or 0.0, seconds or 0.0
            )
            points.append(point)
            if len(points) == _CHUNK:
                index.add_points(_points(points))
                points.clear()
        elif state in ('lost', 'cancelled') and loss is None and _are_times(finished, seconds):
            index.take_back(number, finished or 0.0)
        else:
            raise ValueError
    index.add_points(_points(points))
    if not all(type(name) is str for name in {*index.classes, *(own[2] for own in known.values())}):
        raise TypeError
    return index


def _are_times(finished: float | None, seconds: float | None) -> bool:
    return 0 <= (seconds or 0.0) < LATEST and (finished or 0.0) < LATEST


def _points(texts: Sequence[str]) -> list[list[float]]:
    """Read many points at once: numbers from 0 to 1, as of all trials that could be run."""
    points: list[list[float]] = json.loads(f'[{",".join(texts)}]')
    if len(points) != len(texts) or not all(text[0] == '[' and text[-1] == ']' for text in texts):
        raise ValueError
    numbers = [u for point in points for u in point]
    places = np.array(numbers, float)
    if not set(map(type, numbers)) <= {int, float} or not ((places >= 0) & (places <= 1)).all():
        raise ValueError
    return points
