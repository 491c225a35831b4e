"""The index of a log: columns of all but parameters and results."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.goal import Goal
from shadho.records import LATEST, Attempt, Event, Result, RunBegan, RunEnded, Trial
from shadho.table import Table

__all__ = ['BEGAN', 'ENDED', 'LogIndex', 'index_records', 'index_rows']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BEGAN, ENDED = 'run began', 'run ended'
"""Kinds of the notes that store a `RunBegan` and a `RunEnded`."""

_CHUNK = 4096
"""Points that are parsed at once. Larger chunks need more memory and are not faster. Chosen."""


class LogIndex:
    """The finished trials of a log as columns, in order of completion, and the positions of records.

    A trial with several attempts belongs to the class of the last one.

    Attributes
    ----------
    numbers : array of int
        Ids of the finished trials.
    trials, results : array of int
        Positions of the `Trial` and the `Result` of each.
    attempts : dict of int to int
        Position of the latest `Attempt` of each trial with more than one, by id.
    trees : list of int
    classes : list of str
        Names of compute classes.
    failed : bytearray
        1 where the trial failed.
    losses : array of float
        With the objective's sign; nan where the trial failed.
    started, finished, seconds : array of float
        As in `shadho.records.Result`.
    points, offsets : array of float, array of int
        Point k is ``points[offsets[k]:offsets[k + 1]]``.
    running, waiting : dict of int to int
        Positions of unfinished trials by id: those with a running attempt, and those whose last attempt was lost or
        cancelled.
    latest : float
        The greatest time of all records, in seconds.
    stopped : str
        Why the latest run ended; empty if it is running or was killed.
    """

    def __init__(self) -> None:
        self.numbers = array('q')
        self.trials = array('q')
        self.results = array('q')
        self.attempts: dict[int, int] = {}
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
        self.stopped = ''

    def __len__(self) -> int:
        """Return the number of finished trials."""
        return len(self.numbers)

    def begin(self, position: int, number: int, started: float | None) -> None:
        """Add a trial and its first attempt."""
        self.running[number] = position
        self._pass(started)

    def begin_again(self, position: int, number: int, started: float | None) -> None:
        """Add another attempt at a waiting trial."""
        self.running[number] = self.waiting.pop(number)
        self.attempts[number] = position
        self._pass(started)

    def take_back(self, number: int, finished: float) -> None:
        """Add the end of an attempt that was lost or cancelled."""
        self.waiting[number] = self.running.pop(number)
        self._pass(finished)

    def note(self, time: float, stopped: str | None = None) -> None:
        """Add an event of the search; `stopped` is '' for a run's start, the reason for its end, or None."""
        if stopped is not None:
            self.stopped = stopped
        self._pass(time)

    def _pass(self, time: float | None) -> None:
        if time is not None and time > self.latest:
            self.latest = time

    def places(self, number: int, position: int) -> list[int]:
        """Return the positions of a trial's `Trial` (`position`) and latest `Attempt`, if it has one."""
        return [position, self.attempts[number]] if number in self.attempts else [position]

    def begun(self, number: int, position: int, found: Mapping[int, Event]) -> Trial:
        """Return a trial with its latest attempt, from the records at its `places`."""
        trial, attempt = found[position], found.get(self.attempts.get(number, -1))
        if not isinstance(trial, Trial):
            raise ValueError(f'record {position} is not a trial')
        return trial.begun_again(attempt) if isinstance(attempt, Attempt) else trial

    def finish(
        self, position: int, number: int, tree: int, compute_class: str, loss: float | None,
        started: float, finished: float, seconds: float,
    ) -> None:  # fmt: skip
        """Add a result, except for the point (see `add_points`). A trial without a loss has failed."""
        self.trials.append(self.running.pop(number))
        self.results.append(position)
        self.numbers.append(number)
        self.trees.append(tree)
        self.classes.append(compute_class)
        self.failed.append(loss is None)
        self.losses.append(math.nan if loss is None else loss)
        self.started.append(started)
        self.finished.append(finished)
        self.seconds.append(seconds)
        self._pass(finished)

    def add_points(self, points: Sequence[Sequence[float]]) -> None:
        """Add the points of finished trials, in the order of their results."""
        for point in points:
            self.points.extend(point)
            self.offsets.append(len(self.points))

    def lengths(self) -> Integers:
        """Return the number of coordinates of each point."""
        return np.diff(np.array(self.offsets))

    def minimised(self, direction: str) -> Floats:
        """Return losses in their minimised form."""
        return Goal(direction=direction).sign * np.array(self.losses)

    def leaders(self, count: int, direction: str) -> list[int]:
        """Return the rows of at most `count` best trials that are done; earlier ones first among ties."""
        losses = self.minimised(direction)
        done = np.flatnonzero(~np.isnan(losses))
        if len(done) > count:  # a partition is linear, where sorting a million trials is slow
            done = done[losses[done] <= np.partition(losses[done], count - 1)[count - 1]]
        rows: list[int] = done[np.argsort(losses[done], kind='stable')][:count].tolist()
        return rows

    def history(self, direction: str, running: Iterable[Trial] = ()) -> Table:
        """Return the history of a search: its finished trials, and `running` for the others."""
        history = Table()
        history.extend(
            self.trees, array('d', self.minimised(direction).tobytes()), self.seconds, self.classes, self.points,
            self.lengths().tolist(), sum(self.failed),
        )  # fmt: skip
        for trial in running:
            history.ask(trial.tree)
            history.running[trial.id] = trial
        return history


def index_records(log: Iterable[tuple[int, Event, Trial | None]]) -> LogIndex:
    """Return the index of records from `shadho.storage.replay`."""
    index = LogIndex()
    for position, event, trial in log:
        if isinstance(event, Trial):
            index.begin(position, event.id, event.started)
        elif isinstance(event, Attempt):
            index.begin_again(position, event.trial, event.started)
        elif not isinstance(event, Result):
            stopped = event.reason if isinstance(event, RunEnded) else '' if isinstance(event, RunBegan) else None
            index.note(event.time, stopped)
        elif trial is not None and trial.is_finished:
            index.finish(
                position, trial.id, trial.tree, trial.compute_class, event.loss, event.started, event.finished,
                event.seconds,
            )  # fmt: skip
            index.add_points([trial.point])
        else:
            index.take_back(event.trial, event.finished)
    return index


def index_rows(rows: Iterable[tuple[Any, ...]]) -> LogIndex:
    """Return the index of a log from plain rows, in a tenth of the time that its records take.

    Parameters
    ----------
    rows : iterable of tuple
        In order of position, with 11 columns: position, number of the trial, number of the attempt, tree, point, compute class,
        `started`, state, loss, `finished` and `seconds`. An attempt has no tree and point. A report has `time`, 'report' and
        its step in the places of `started`, state and loss; a note has `time`, kind and values. Other columns are None.

    Raises
    ------
    ValueError, TypeError, LookupError, ArithmeticError
        Where a row is unexpected. `replay` then finds the error by checking records one by one.
    """
    rest = _Rows()
    last = 0
    for position, number, attempt, tree, point, compute_class, started, state, loss, finished, seconds in rows:
        if position <= last or not -LATEST < (started or 0.0) < LATEST:
            raise ValueError
        last = position
        if number is None:
            rest.index.note(started or 0.0, _reason(loss) if state == ENDED else '' if state == BEGAN else None)
        elif state is None:
            rest.begin(position, number, attempt, tree, point, compute_class, started)
        elif state == 'report':
            rest.note(number, attempt, loss, started)
        else:
            rest.end(position, number, attempt, started, state, loss, finished, seconds)
    return rest.whole()


class _Rows:
    """An index under construction from rows, with the facts of unfinished trials."""

    def __init__(self) -> None:
        self.index = LogIndex()
        self._known: dict[int, tuple[str, str, str, int]] = {}
        self._steps: dict[int, int] = {}
        self._points: list[str] = []

    def begin(
        self, position: int, number: int, attempt: int, tree: str | None, point: str, compute_class: str, started: float | None
    ) -> None:  # fmt: skip
        """Add a trial, or, without a tree, another attempt at one."""
        index = self.index
        if tree is not None and number == len(index) + len(index.running) + len(index.waiting):
            index.begin(position, number, started)
        elif tree is None and number in index.waiting and attempt > self._known[number][3]:
            tree, point, *_ = self._known[number]
            index.begin_again(position, number, started)
        else:
            raise ValueError
        self._known[number] = tree, point, compute_class, attempt

    def note(self, number: int, attempt: int, step: int, time: float | None) -> None:
        """Check a report and add its time."""
        if number not in self.index.running or attempt != self._known[number][3] or step <= self._steps.get(number, 0):
            raise ValueError
        self._steps[number] = step
        self.index.note(time or 0.0)

    def end(
        self, position: int, number: int, attempt: int | None, started: float | None, state: str, loss: float | None,
        finished: float | None, seconds: float | None,
    ) -> None:  # fmt: skip
        """Add a result."""
        index = self.index
        if number not in index.running or attempt not in (None, self._known[number][3]):
            raise ValueError
        if not _are_times(finished, seconds):
            raise ValueError
        self._steps.pop(number, None)
        if state in ('done', 'failed') and (loss is None) is (state == 'failed'):
            tree, point, compute_class, _ = self._known.pop(number)
            index.finish(
                position, number, int(tree), compute_class, loss, started or 0.0, finished or 0.0, seconds or 0.0
            )
            self._points.append(point)
            if len(self._points) == _CHUNK:
                self._add_points()
        elif state in ('lost', 'cancelled') and loss is None:
            index.take_back(number, finished or 0.0)
        else:
            raise ValueError

    def _add_points(self) -> None:
        self.index.add_points(_points(self._points))
        self._points.clear()

    def whole(self) -> LogIndex:
        """Return the index after the last row."""
        self._add_points()
        if not all(type(name) is str for name in {*self.index.classes, *(names[2] for names in self._known.values())}):
            raise TypeError
        return self.index


def _reason(values: str) -> str:
    reason = json.loads(values)['reason']
    if type(reason) is not str:
        raise TypeError
    return reason


def _are_times(finished: float | None, seconds: float | None) -> bool:
    return 0 <= (seconds or 0.0) < LATEST and (finished or 0.0) < LATEST


def _points(texts: Sequence[str]) -> list[list[float]]:
    """Return points from their JSON texts; raise ValueError if one does not lie in the unit cube."""
    points: list[list[float]] = json.loads(f'[{",".join(texts)}]')
    if len(points) != len(texts) or not all(text[0] == '[' and text[-1] == ']' for text in texts):
        raise ValueError
    numbers = [u for point in points for u in point]
    places = np.array(numbers, float)
    if not set(map(type, numbers)) <= {int, float} or not ((places >= 0) & (places <= 1)).all():
        raise ValueError
    return points
