"""Which slot ran which trial when, and how busy the compute classes were."""

from __future__ import annotations

import heapq

import attrs
import numpy as np
import numpy.typing as npt

from shadho.records import TrialState
from shadho.report.course import FAINT, GRID, Course, Floats, Mask
from shadho.words import counted, shorten

__all__ = ['ATTEMPTS', 'ClassRows', 'Timeline', 'lay_out']

_HALF = 0.42
"""Half the height of a bar, in rows."""

ATTEMPTS = {TrialState.LOST: FAINT, TrialState.CANCELLED: GRID}
"""Colours of attempts that brought no result."""


@attrs.frozen
class ClassRows:
    """The rows of one compute class.

    Attributes
    ----------
    name : str
    first, rows : int
        The number of its first row, and how many it has: trials that ran at once at most.
    slots : int
        As they were last; `rows`, when that is not known.
    utilisation : float
        Share of the slots' time in which trials ran, from 0 to 1: of the latest run, where that is
        known, else of the whole search.
    """

    name: str
    first: int
    rows: int
    slots: int
    utilisation: float

    @property
    def middle(self) -> float:
        """Where its name stands, in rows."""
        return self.first + (self.rows - 1) / 2

    @property
    def title(self) -> str:
        """Its name, and its slots and utilisation, on two lines."""
        slots = counted(self.slots, 'slot')
        return f'{shorten(self.name, 24)}\n{slots}, {self.utilisation:.0%} busy'


@attrs.frozen(eq=False)
class Timeline:
    """Trials on the rows of their compute classes.

    Attributes
    ----------
    rows : array of int, shape (trials,)
        0 is the uppermost. A storage does not say which slot had a trial: they are filled from the first.
    attempts : array of int, shape (attempts,)
        Rows of the attempts that brought no result.
    classes : list of ClassRows
        In the order of their rows, the largest class first.
    """

    rows: npt.NDArray[np.int64]
    attempts: npt.NDArray[np.int64]
    classes: list[ClassRows]

    @property
    def count(self) -> int:
        """Rows of all classes together."""
        return sum(own.rows for own in self.classes)

    def bars(self, course: Course, which: Mask, seconds: float = 1.0) -> Floats:
        """Return the corners of the bars of some trials: shape (trials, 4, 2), in units of so many seconds."""
        return _corners(course.started[which] / seconds, course.finished[which] / seconds, self.rows[which])

    def attempt_bars(self, course: Course, state: TrialState, seconds: float = 1.0) -> Floats:
        """Return the corners of the bars of the attempts that ended in some state, as `bars` does."""
        which = [place for place, own in enumerate(course.attempts) if own.state is state]
        started = np.array([course.attempts[place].started for place in which])
        finished = np.array([course.attempts[place].finished for place in which])
        return _corners(started / seconds, finished / seconds, self.attempts[which])


def lay_out(course: Course) -> Timeline:
    """Give each trial, and each attempt without a result, a row on which nothing else ran at its time."""
    count = len(course)
    started = np.concatenate([course.started, [own.started for own in course.attempts]])
    finished = np.concatenate([course.finished, [own.finished for own in course.attempts]])
    names = np.concatenate([course.classes, np.array([own.compute_class for own in course.attempts], object)])
    rows = np.zeros(len(names), int)
    classes: list[ClassRows] = []
    uses = {use.compute_class.name: use for use in course.result.classes}
    first = 0
    for name in course.class_names:
        own = np.flatnonzero(names == name)
        if not len(own):
            continue
        places, height = _fill(started[own], finished[own])
        rows[own] = first + places
        use = uses.get(name)
        compute_class = course.compute_classes.get(name)
        slots = height if compute_class is None else compute_class.slots
        busy = _busy_share(course, own[own < count], slots) if use is None else use.utilisation
        classes.append(ClassRows(str(name), first, height, slots, busy))
        first += height
    return Timeline(rows[:count], rows[count:], classes)


def _corners(start: Floats, end: Floats, rows: npt.NDArray[np.int64]) -> Floats:
    low, high = rows - _HALF, rows + _HALF
    return np.stack([np.column_stack([start, end, end, start]), np.column_stack([low, low, high, high])], axis=-1)


def _fill(started: Floats, finished: Floats) -> tuple[npt.NDArray[np.int64], int]:
    """Return a row for each trial, the first that is free, and how many rows there are."""
    rows = np.zeros(len(started), int)
    free: list[int] = []
    running: list[tuple[float, int]] = []
    count = 0
    for trial in np.argsort(started, kind='stable'):
        while running and running[0][0] <= started[trial]:
            heapq.heappush(free, heapq.heappop(running)[1])
        if not free:
            heapq.heappush(free, count)
            count += 1
        rows[trial] = heapq.heappop(free)
        heapq.heappush(running, (finished[trial], int(rows[trial])))
    return rows, count


def _busy_share(course: Course, own: npt.NDArray[np.int64], slots: int) -> float:
    end = max(course.result.elapsed, float(course.finished.max(initial=0.0)))
    busy = sum(course.trials[row].seconds or 0.0 for row in own)
    return min(1.0, busy / (slots * end)) if slots and end > 0 else 0.0
