"""The index of a log: columns of all but parameters and results."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shadho.goal import Goal
from shadho.records import LATEST, Attempt, Event, Report, Result, RunBegan, RunEnded, Trial, TrialState
from shadho.table import Table

__all__ = ['BEGAN', 'ENDED', 'REMOVED', 'STATES', 'LogIndex', 'index_records', 'index_rows']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BEGAN, ENDED, REMOVED = 'run began', 'run ended', 'folder removed'
"""Kinds of the notes that store a `RunBegan`, a `RunEnded` and a `FolderRemoved`."""

_CHUNK = 4096
"""Points that are parsed at once. Larger chunks need more memory and are not faster. Chosen."""


STATES = tuple(state.value for state in (TrialState.DONE, TrialState.FAILED, TrialState.STOPPED, TrialState.PAUSED))
"""States in which a trial has a row; `LogIndex.states` holds their numbers."""

_CODES: Mapping[str, int] = {state: code for code, state in enumerate(STATES)}

_DONE, _FAILED, _STOPPED, _PAUSED = _CODES.values()


_ONLY_FAILED = bytes(code == _FAILED for code in range(256))


class _Row(NamedTuple):
    """The row of a trial."""

    result: int
    tree: int
    compute_class: str
    state: int
    loss: float
    started: float
    finished: float
    seconds: float
    took: float
    step: int


class LogIndex:
    """The trials of a log that have ended or are paused, as columns, and the positions of records.

    Ended trials stand in order of completion, then paused ones. A trial with several attempts belongs to the class of the
    last one.

    Attributes
    ----------
    numbers : array of int
        Ids of the trials.
    trials, results : array of int
        Positions of the `Trial` and the `Result` of each.
    attempts : dict of int to int
        Position of the latest `Attempt` of each trial with more than one, by id.
    trees : list of int
    classes : list of str
        Names of compute classes.
    states : bytearray
        0 where the trial is done, 1 where it failed, 2 where it was stopped, 3 where it is paused.
    steps : array of int
        The last step of each trial; 0 without steps.
    losses : array of float
        With the objective's sign; nan where the trial failed.
    started, finished, seconds : array of float
        As in `shadho.records.Trial`: `seconds` of all attempts at a trial, the others of the last one.
    took : array of float
        Seconds of the last attempt alone.
    earlier : list of tuple of (str, float, float, float)
        Class, start, end and seconds of the attempts that were paused before the last attempt at their trial.
    reported : dict of int to int
        The last step that any attempt at a trial reported, by the trial's id.
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
        self.states = bytearray()
        self.steps = array('q')
        self.losses = array('d')
        self.started = array('d')
        self.finished = array('d')
        self.seconds = array('d')
        self.took = array('d')
        self.earlier: list[tuple[str, float, float, float]] = []
        self.reported: dict[int, int] = {}
        self.points = array('d')
        self.offsets = array('q', [0])
        self.running: dict[int, int] = {}
        self.waiting: dict[int, int] = {}
        self.latest = 0.0
        self.stopped = ''
        self._resting: dict[int, tuple[int, _Row]] = {}  # paused trials, which may go on, with their positions

    def __len__(self) -> int:
        """Return the number of trials that have ended or are paused."""
        return len(self.numbers)

    @property
    def failed(self) -> bytearray:
        """1 where the trial failed."""
        return self.states.translate(_ONLY_FAILED)

    def count(self, state: TrialState) -> int:
        """Return the number of trials in a state, which may be done, failed, stopped or paused."""
        return self.states.count(_CODES[state.value])

    def begin(self, position: int, number: int, started: float | None) -> None:
        """Add a trial and its first attempt."""
        self.running[number] = position
        self._pass(started)

    def begin_again(self, position: int, number: int, started: float | None) -> None:
        """Add another attempt at a waiting or paused trial."""
        if number in self.waiting:
            self.running[number] = self.waiting.pop(number)
        else:
            self.running[number], row = self._resting.pop(number)
            self.earlier.append((row.compute_class, row.started, row.finished, row.took))
        self.attempts[number] = position
        self._pass(started)

    def take_back(self, number: int, finished: float) -> None:
        """Add the end of an attempt that was lost or cancelled."""
        self.waiting[number] = self.running.pop(number)
        self._pass(finished)

    def report(self, number: int, step: int, time: float) -> None:
        """Add a report of a running trial."""
        if step > self.reported.get(number, 0):  # else a lost attempt has reported this step before
            self.reported[number] = step
        self._pass(time)

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

    @property
    def begun_count(self) -> int:
        """The number of trials that have begun."""
        return len(self) + len(self.running) + len(self.waiting) + len(self._resting)

    def is_paused(self, number: int) -> bool:
        """Whether a trial is paused, before `close`."""
        return number in self._resting

    def rest(self, number: int, row: _Row) -> None:
        """Add the pause of a trial."""
        self._resting[number] = self.running.pop(number), row
        self._pass(row.finished)

    def finish(self, number: int, row: _Row) -> None:
        """Add the end of a trial, except for its point (see `add_points`)."""
        if number in self.running:
            place = self.running.pop(number)
        else:
            place, paused = self._resting.pop(number)
            row = row._replace(took=paused.took)
        self._add(number, place, row)
        self._pass(row.finished)

    def close(self) -> list[int]:
        """Add rows for trials that are still paused, and return their ids; their points are to follow."""
        resting, self._resting = self._resting, {}
        for number, (place, row) in resting.items():
            self._add(number, place, row)
        return list(resting)

    def _add(self, number: int, place: int, row: _Row) -> None:
        self.trials.append(place)
        self.results.append(row.result)
        self.numbers.append(number)
        self.trees.append(row.tree)
        self.classes.append(row.compute_class)
        self.states.append(row.state)
        self.steps.append(row.step)
        self.losses.append(row.loss)
        self.started.append(row.started)
        self.finished.append(row.finished)
        self.seconds.append(row.seconds)
        self.took.append(row.took)

    def add_points(self, points: Sequence[Sequence[float]]) -> None:
        """Add the points of finished trials, in the order of their results."""
        for point in points:
            self.points.extend(point)
            self.offsets.append(len(self.points))

    def reached(self, steps: Sequence[int]) -> dict[int, int]:
        """Return how many trials have reached each of some steps; those that are done count at all."""
        done = {number for number, state in zip(self.numbers, self.states) if state == _DONE}
        last = np.array([step for number, step in self.reported.items() if number not in done])
        return {step: len(done) + int((last >= step).sum()) for step in steps}

    def lengths(self) -> Integers:
        """Return the number of coordinates of each point."""
        return np.diff(np.array(self.offsets))

    def minimised(self, direction: str) -> Floats:
        """Return losses in their minimised form."""
        return Goal(direction=direction).sign * np.array(self.losses)

    def leaders(self, count: int, direction: str) -> list[int]:
        """Return the rows of at most `count` best trials, as `Goal.rank` orders them; earlier ones first among ties."""
        losses = self.minimised(direction)
        known = np.flatnonzero(~np.isnan(losses))
        reach = -np.where(np.frombuffer(self.states, np.uint8) == _DONE, np.inf, np.array(self.steps, float))[known]
        if (
            len(known) > count and reach.min() == reach.max()
        ):  # a partition is linear, where sorting a million trials is slow
            known = known[losses[known] <= np.partition(losses[known], count - 1)[count - 1]]
            reach = reach[: len(known)]
        rows: list[int] = known[np.lexsort((losses[known], reach))][:count].tolist()
        return rows

    def history(self, direction: str, running: Iterable[Trial] = ()) -> Table:
        """Return the history of a search: trials that have ended or are paused, and `running` for the others."""
        history = Table()
        states = {state: self.count(state) for state in TrialState if state.value in _CODES}
        are_partial = np.frombuffer(self.states, np.uint8) >= _STOPPED
        budgets = np.where(are_partial, np.array(self.steps, float), math.nan)
        history.extend(
            self.trees, array('d', self.minimised(direction).tobytes()), self.seconds, self.classes, self.points,
            self.lengths().tolist(), states, array('d', budgets.tobytes()),
        )  # fmt: skip
        for trial in running:
            history.ask(trial.tree)
            history.running[trial.id] = trial
        return history


def index_records(log: Iterable[tuple[int, Event, Trial | None]]) -> LogIndex:
    """Return the index of records from `shadho.storage.replay`."""
    index = LogIndex()
    points: dict[int, tuple[float, ...]] = {}
    for position, event, trial in log:
        if isinstance(event, Trial):
            index.begin(position, event.id, event.started)
        elif isinstance(event, Attempt):
            index.begin_again(position, event.trial, event.started)
        elif isinstance(event, Report):
            index.report(event.trial, event.step, event.time)
        elif not isinstance(event, Result):
            stopped = event.reason if isinstance(event, RunEnded) else '' if isinstance(event, RunBegan) else None
            index.note(event.time, stopped)
        elif trial is None or trial.state.value not in _CODES:
            index.take_back(event.trial, event.finished)
        else:
            loss = math.nan if event.loss is None else event.loss
            row = _Row(
                position, trial.tree, trial.compute_class, _CODES[trial.state.value], loss, event.started,
                event.finished, trial.seconds or 0.0, event.seconds, trial.step,
            )  # fmt: skip
            if trial.state is TrialState.PAUSED:
                index.rest(trial.id, row)
                points[trial.id] = trial.point
            else:
                index.finish(trial.id, row)
                index.add_points([trial.point])
    index.add_points([points[number] for number in index.close()])
    return index


def index_rows(rows: Iterable[tuple[Any, ...]]) -> LogIndex:
    """Return the index of a log from plain rows, in a tenth of the time that its records take.

    Parameters
    ----------
    rows : iterable of tuple
        In order of position, with 12 columns: position, number of the trial, number of the attempt, tree, point, compute class,
        `started`, state, loss, `finished`, `seconds` and step. An attempt has no tree and point. A report has `time` and 'report'
        in the places of `started` and state; a note has `time`, kind and values, and its trial in the place of step. Other columns are None.

    Raises
    ------
    ValueError, TypeError, LookupError, ArithmeticError
        Where a row is unexpected. `replay` then finds the error by checking records one by one.
    """
    rest = _Rows()
    last = 0
    for position, number, attempt, tree, point, compute_class, started, state, loss, finished, seconds, step in rows:
        if position <= last or not -LATEST < (started or 0.0) < LATEST:
            raise ValueError
        last = position
        if number is None:
            if state == REMOVED:
                rest.remove_folder(step)
            rest.index.note(started or 0.0, _reason(loss) if state == ENDED else '' if state == BEGAN else None)
        elif state is None:
            rest.begin(position, number, attempt, tree, point, compute_class, started)
        elif state == 'report':
            rest.note(number, attempt, step, started)
        else:
            rest.end(position, number, attempt, started, state, loss, finished, seconds, step)
    return rest.whole()


class _Rows:
    """An index under construction from rows, with the facts of unfinished trials."""

    def __init__(self) -> None:
        self.index = LogIndex()
        self._known: dict[int, tuple[str, str, str, int]] = {}
        self._steps: dict[int, int] = {}  # after which the attempts of paused trials begin
        self._seconds: dict[int, float] = {}  # that these trials took until then
        self._reported: dict[int, int] = {}  # by running attempts
        self._points: list[str] = []

    def begin(
        self, position: int, number: int, attempt: int, tree: str | None, point: str, compute_class: str, started: float | None
    ) -> None:  # fmt: skip
        """Add a trial, or, without a tree, another attempt at one."""
        index = self.index
        if tree is not None and number == index.begun_count:
            index.begin(position, number, started)
        elif tree is None and (number in index.waiting or index.is_paused(number)) and attempt > self._known[number][3]:
            tree, point, *_ = self._known[number]
            index.begin_again(position, number, started)
        else:
            raise ValueError
        self._known[number] = tree, point, compute_class, attempt

    def note(self, number: int, attempt: int, step: int, time: float | None) -> None:
        """Check a report and add its time."""
        if number not in self.index.running or attempt != self._known[number][3] or step <= self._last(number):
            raise ValueError
        self._reported[number] = step
        self.index.report(number, step, time or 0.0)

    def remove_folder(self, number: int) -> None:
        """Let the next attempt at a trial begin at step 0."""
        if number not in self.index.waiting and not self.index.is_paused(number):
            raise ValueError
        if number in self._steps:
            self._steps[number] = 0

    def _last(self, number: int) -> int:
        return self._reported.get(number) or self._steps.get(number, 0)

    def end(
        self, position: int, number: int, attempt: int | None, started: float | None, state: str, loss: float | None,
        finished: float | None, seconds: float | None, step: int,
    ) -> None:  # fmt: skip
        """Add a result."""
        index = self.index
        drops = state == 'stopped' and index.is_paused(number)
        if (number not in index.running and not drops) or attempt not in (None, self._known[number][3]):
            raise ValueError
        if not _are_times(finished, seconds):
            raise ValueError
        self._reported.pop(number, None)
        if state in ('lost', 'cancelled') and loss is None:
            index.take_back(number, finished or 0.0)
            return
        code = _CODES[state]
        tree, point, compute_class, _ = self._known[number]
        if (code == _DONE and loss is None) or (code == _FAILED and loss is not None):
            raise ValueError
        if type(step) is not int or step < (self._steps.get(number, 0) if code >= _STOPPED else 0):
            raise ValueError
        known = math.nan if loss is None else loss
        took = seconds or 0.0
        total = self._seconds.get(number, 0.0) + (0.0 if drops else took)
        row = _Row(position, int(tree), compute_class, code, known, started or 0.0, finished or 0.0, total, took, step)
        if code == _PAUSED:
            self._steps[number], self._seconds[number] = step, total
            index.rest(number, row)
            return
        if number in self._steps:
            del self._steps[number], self._seconds[number]
        del self._known[number]
        index.finish(number, row)
        self._points.append(point)
        if len(self._points) == _CHUNK:
            self._add_points()

    def _add_points(self) -> None:
        self.index.add_points(_points(self._points))
        self._points.clear()

    def whole(self) -> LogIndex:
        """Return the index after the last row."""
        self._points += [self._known[number][1] for number in self.index.close()]
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
