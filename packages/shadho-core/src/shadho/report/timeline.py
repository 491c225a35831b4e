"""Which slot ran which trial when, and how busy the compute classes were."""

from __future__ import annotations

import heapq
import itertools
from typing import Literal

import attrs
import numpy as np
import numpy.typing as npt

from shadho.records import TrialState
from shadho.report.course import FAINT, GRID, INK, Course, Floats, Mask
from shadho.report.rungs import colours_of_rungs, rungs_of_attempts, rungs_of_trials
from shadho.words import counted, shorten

__all__ = ['ClassRows', 'Kind', 'Timeline', 'kinds', 'lay_out']

_HALF = 0.42
"""Half the height of a bar, in rows."""

_ENDED = {TrialState.LOST: FAINT, TrialState.CANCELLED: GRID}
"""Colours of attempts that brought no result."""


@attrs.frozen(eq=False)
class Kind:
    """Bars of one colour.

    Attributes
    ----------
    label, colour : str
    trials, attempts : array of bool
        Which trials, by their last attempts, and which of the `attempts` of a course.
    """

    label: str
    colour: str
    trials: Mask
    attempts: Mask


def kinds(course: Course, by: Literal['rung', 'tree'] | None = None) -> list[Kind]:
    """Return the kinds of bars: by the rung that an attempt came to, or by the tree of its trial; then those without a result.

    By default, it is by the rung where there are rungs.
    """
    states = np.array([own.state for own in course.attempts], object)
    paused, nothing = states == TrialState.PAUSED, np.zeros(len(course), bool)
    if by == 'rung' or (by is None and course.rungs):
        of_trials, of_attempts = rungs_of_trials(course), rungs_of_attempts(course)
        found = [
            Kind(f'to step {step:,}', colour, of_trials == number, of_attempts == number)
            for number, (step, colour) in enumerate(zip(course.rungs, colours_of_rungs(len(course.rungs))))
        ]
        found.append(Kind('failed', INK, course.failed, np.zeros(len(states), bool)))
    else:
        trees = np.array([own.tree for own in course.attempts], object)
        of_trees = [np.isin(trees, np.unique(course.trees[own.rows])) & paused for own in course.groups()]
        others = itertools.repeat(np.zeros(len(states), bool))
        found = [
            Kind(own.label, own.colour, own.rows, attempts)
            for own, attempts in zip(course.all_groups(), itertools.chain(of_trees, others))
        ]
    found += [Kind(str(state), colour, nothing, states == state) for state, colour in _ENDED.items()]
    return [own for own in found if own.trials.any() or own.attempts.any()]


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
        Rows of the attempts that did not end their trials.
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

    def attempt_bars(self, course: Course, which: Mask, seconds: float = 1.0) -> Floats:
        """Return the same of some attempts that did not end their trials."""
        times = np.array([(own.started, own.finished) for own in course.attempts]).reshape(-1, 2)[which] / seconds
        return _corners(times[:, 0], times[:, 1], self.attempts[which])


def lay_out(course: Course) -> Timeline:
    """Give each trial, and each attempt that did not end one, a row on which nothing else ran at its time."""
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
        busy = _busy_share(course, name, slots) if use is None else use.utilisation
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


def _busy_share(course: Course, name: str, slots: int) -> float:
    end = max(course.result.elapsed, float(course.finished.max(initial=0.0)))
    busy = sum(course.seconds_in(name))
    return min(1.0, busy / (slots * end)) if slots and end > 0 else 0.0
