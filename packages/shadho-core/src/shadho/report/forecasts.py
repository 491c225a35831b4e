"""What the market would have forecast at each moment of a recorded search: prices, and the seconds of trials.

Neither is written into the log. Both follow from the trials that were finished by then, so that a search with
another policy has them too; the classes are taken to be as they were last.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from shadho.ledger import Ledger
from shadho.records import Result, Trial
from shadho.report.course import Course, Floats
from shadho.scheduling import PolicyContext
from shadho.scheduling.market import Market

__all__ = ['Forecasts', 'forecasts']

_LOOKS = 48
"""Moments that are looked at: half of them early, when much is learned from each trial; each costs some milliseconds."""


@attrs.frozen(eq=False)
class Forecasts:
    """Prices over time, and expected seconds of each trial.

    Attributes
    ----------
    moments : array, shape (moments,)
        Seconds of active search.
    classes : list of str
    prices : array, shape (moments, classes)
        By which share the search becomes faster with one more slot.
    expected : array, shape (trials,)
        Seconds of each trial, by what was known at the latest moment before its start; nan for the first ones.
    """

    moments: Floats
    classes: list[str]
    prices: Floats
    expected: Floats


def forecasts(course: Course) -> Forecasts:
    """Let a market with the default options learn the trials of a search in the order of their completion."""
    result = course.result
    ledger = Ledger(result.goal)
    market = Market(PolicyContext(result.forest, ledger, result.seed))
    classes = [own for own in course.compute_classes.values() if own.slots]
    names = [own.name for own in classes]
    expected = np.full(len(course), np.nan)
    moments: list[float] = []
    prices: list[Floats] = []
    looks = _looks(len(course)) if classes else []
    latest = np.maximum.accumulate(course.finished)
    seconds = np.nan_to_num(course.seconds).tolist()
    for learned, count, following in zip([0, *looks], looks, [*looks[1:], None]):
        for trial, taken in zip(course.trials[learned:count], seconds[learned:count]):
            # One after the other, numbered so: in which order trials were begun does not matter to a forecast.
            asked = Trial(
                ledger.history.asked,
                trial.tree,
                trial.point,
                None,
                trial.compute_class,
                started=trial.started,
            )
            ledger.apply(asked)
            came = Result(asked.id, trial.state, trial.loss, {}, trial.error, seconds=taken)
            market.learn(came, ledger.apply(came))
        now = float(latest[count - 1])
        moments.append(now)
        prices.append(np.array(market.forecast(classes, now).prices))
        end = np.inf if following is None else latest[following - 1]
        rows = np.flatnonzero((course.started >= now) & (course.started < end))
        if len(rows):
            expected[rows] = _expect(course, market, rows)
    return Forecasts(np.array(moments), names, np.array(prices).reshape(len(moments), len(names)), expected)


def _looks(count: int) -> list[int]:
    """Return numbers of trials after which to look."""
    if not count:
        return []
    steps = np.concatenate([np.geomspace(1, count, _LOOKS // 2), np.linspace(1, count, _LOOKS // 2)])
    return [int(step) for step in np.unique(np.round(steps))]


def _expect(course: Course, market: Market, rows: npt.NDArray[np.intp]) -> Floats:
    """Return how long some trials are expected to take."""
    trees, classes = list(dict.fromkeys(course.trees[rows])), list(dict.fromkeys(map(str, course.classes[rows])))
    seconds = market.runtime.predict(trees, classes)
    places = {tree: place for place, tree in enumerate(trees)}
    columns = {name: place for place, name in enumerate(classes)}
    expected: Floats = seconds[
        [places[tree] for tree in course.trees[rows]], [columns[name] for name in course.classes[rows]]
    ]
    return expected
