"""Which rung each attempt came to: its colour, and a table of rungs and compute classes."""

from __future__ import annotations

import bisect
from collections import Counter

import attrs
import numpy as np
import numpy.typing as npt

from shadho.records import Trial, TrialState
from shadho.report.course import Course

__all__ = ['RungResult', 'colours_of_rungs', 'rungs_of_attempts', 'rungs_of_trials', 'sum_up_rungs']

Integers = npt.NDArray[np.int64]

_BELOW = ('#c6dbef', '#9ecae1', '#6baed6', '#3182bd', '#08519c', '#08306b')
"""Blues of ColorBrewer for the rungs below the last one, the deeper the further up."""

_LAST = '#e69f00'
"""The colour of trials that ran to their end, which is none of the blues."""


def colours_of_rungs(count: int) -> list[str]:
    """Return the colour of each rung; of more than seven, neighbours share some."""
    places = (
        np.linspace(0, len(_BELOW) - 1, count + 1)[1:-1] if count < 4 else np.linspace(0, len(_BELOW) - 1, count - 1)
    )
    return [*(_BELOW[round(place)] for place in places), _LAST]


def rungs_of_trials(course: Course) -> Integers:
    """Return the number of the rung that the last attempt at each trial came to; -1 where it failed."""
    return np.array([_rung_of_trial(course.rungs, trial) for trial in course.trials], int)


def rungs_of_attempts(course: Course) -> Integers:
    """Return the same for `course.attempts`; -1 where one was lost or cancelled."""
    return np.array(
        [_rung(course.rungs, own.step) if own.state is TrialState.PAUSED else -1 for own in course.attempts], int
    )


def _rung_of_trial(rungs: tuple[int, ...], trial: Trial) -> int:
    if trial.state is TrialState.FAILED:
        return -1
    return len(rungs) - 1 if trial.state is TrialState.DONE else _rung(rungs, trial.step)


def _rung(rungs: tuple[int, ...], step: int) -> int:
    """Return the number of the last rung at or below a step; the first one below all."""
    return max(bisect.bisect_right(rungs, step) - 1, 0)


@attrs.frozen
class RungResult:
    """The attempts that ended at one rung.

    Attributes
    ----------
    step : int
    reached : int
        Trials that have reached the rung.
    attempts : dict of str to int
        How many attempts ended there in each compute class: paused, stopped, or, at the last rung, done.
    """

    step: int
    reached: int
    attempts: dict[str, int]


def sum_up_rungs(course: Course) -> list[RungResult]:
    """Return what is known of each rung; nothing where the fidelity has none."""
    counts = Counter(zip(rungs_of_trials(course).tolist(), course.classes))
    counts.update(zip(rungs_of_attempts(course).tolist(), (own.compute_class for own in course.attempts)))
    reached = course.result.index.reached(course.rungs)
    return [
        RungResult(step, reached[step], {name: counts[number, name] for name in course.class_names})
        for number, step in enumerate(course.rungs)
    ]
