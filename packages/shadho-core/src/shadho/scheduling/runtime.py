"""How many seconds a trial of each tree takes in each compute class, learned while the search runs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.records import Trial
from shadho.scheduling.hosts import HostWatch

__all__ = ['INFEASIBLE', 'UNFIT', 'RuntimeModel', 'age']

Floats = npt.NDArray[np.float64]

_SHORTEST = 1e-6
"""Seconds that a trial takes at least, so that there is a logarithm."""

_TELLING = 0.1
"""Seconds from which on a trial tells of its worker: below, noise of a busy machine looks like a slow one."""

_TREE, _CLASS, _PAIR, _SLOPE = 1.0, 1.0, 0.8, 0.5
"""How far trees, classes, pairs, and trees of unlike complexity are expected to lie apart: standard
deviations of log seconds. Trees mostly lie within a factor of e of each other, and so do classes;
that some class suits one tree more than others is worth a factor of 2."""

_SPREAD = 0.5
"""Variance of log seconds among the trials of one tree, before there are any."""

_SLACK = 1.0
"""Seconds that may pass between asking for a trial and its start, and between its end and its result."""

_USUAL = 3
"""Trials of a pair after which it is known what is usual there."""

_SMEARED = 3.0
"""Trials that the prior of a smearing factor is worth."""

_NINTH_DECILE = 1.2816
"""Of the standard normal distribution."""

_MOST_CUT_OFF = 100
"""Trials that were ended where they ran, of which the last ones count, so that the cost does not grow."""

_ROUNDS = 10
"""Rounds of backfitting."""

UNFIT = ('memory', 'crash')
"""Kinds of failure that may be the hardware's: a process that is out of memory is often killed."""

INFEASIBLE = 3
"""Trials that fail in such a way, and none that succeeds, after which a pair counts as infeasible."""

_RETRY = 100
"""Finished trials of the class after which such a pair is tried again; ten times as many each time."""


class RuntimeModel:
    """Expected seconds of a trial of each tree in each class.

    Logarithms of seconds are modelled as a sum, base + tree + class + pair, each part shrunk to
    what is known above it: one trial already moves its tree in every class, and a pair never seen
    borrows from its tree and its class. The prior of a tree is its complexity. Expected seconds
    follow from expected logarithms by Duan's smearing factor, one for each tree.

    Parameters
    ----------
    complexity : callable
        Of the number of a tree.

    Notes
    -----
    D. Bates and others describe such partial pooling (*Fitting linear mixed-effects models using
    lme4*, 2015); N. Duan, *Smearing estimate: a nonparametric retransformation method* (1983).
    Only sums are kept: the cost does not grow with the number of trials.
    """

    def __init__(self, complexity: Callable[[int], float]) -> None:
        self._complexity = complexity
        self._rows: dict[int, int] = {}
        self._columns: dict[str, int] = {}
        self._complexities = np.zeros(0)
        self._count = np.zeros((0, 0))
        self._logs = np.zeros((0, 0))
        self._seconds = np.zeros((0, 0))
        self._fitted = np.zeros((0, 0))
        self._unfit = np.zeros((0, 0))
        self._failed_at = np.zeros((0, 0))
        self._squares = 0.0
        self._hosts = HostWatch()
        self._asked: tuple[list[int], list[str], tuple[Any, ...]] = ([], [], np.ix_([], []))
        self._finished: dict[str, int] = {}
        self._cut_off: deque[tuple[int, str, float]] = deque(maxlen=_MOST_CUT_OFF)

    # --- learning ----------------------------------------------------------------------------------

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: how long it took, or that it did not fit there.

        A trial whose objective raised says only that it fits: the rest is for its parameters to answer for.
        """
        kind = '' if trial.error is None else trial.error.kind
        row, column = self._row(trial.tree), self._column(trial.compute_class)
        if kind != 'lost':
            self._finished[trial.compute_class] = self._finished.get(trial.compute_class, 0) + 1
        if kind in UNFIT:
            self._unfit[row, column] += 1
            self._failed_at[row, column] = self._finished[trial.compute_class]
        elif kind != 'lost':
            self._fitted[row, column] += 1
        if kind not in ('', 'timeout'):  # one that failed soon does not say how long others take
            return
        seconds = max(trial.seconds or 0.0, _SHORTEST)
        if not math.isfinite(seconds):
            return
        logarithm = math.log(seconds)
        if trial.host and seconds >= _TELLING and self._count[row, column] >= _USUAL:
            usual = float(self._logs[row, column] / self._count[row, column])
            self._hosts.tell(trial.compute_class, trial.host, logarithm - usual)
        self._count[row, column] += 1
        self._logs[row, column] += logarithm
        self._seconds[row, column] += seconds
        self._squares += logarithm**2

    def know(self, trial: Trial) -> None:
        """Take note of a trial that begins; so that the order of what is known does not depend on when it is asked about."""
        if trial.tree not in self._rows:
            self._row(trial.tree)
        if trial.compute_class not in self._columns:
            self._column(trial.compute_class)

    def _row(self, tree: int) -> int:
        row = self._rows.get(tree)
        if row is None:
            row = self._rows[tree] = len(self._rows)
            if row >= len(self._count):
                self._resize(max(16, 2 * row), self._count.shape[1])
            self._complexities[row] = self._complexity(tree)
        return row

    def _column(self, compute_class: str) -> int:
        column = self._columns.setdefault(compute_class, len(self._columns))
        if column >= self._count.shape[1]:
            self._resize(len(self._count), max(4, 2 * column))
        return column

    def _pairs(self, trees: Sequence[int], classes: Sequence[str]) -> tuple[Any, ...]:
        """Return indices of these trees and classes into the tables; asked for the same ones again and again."""
        if (trees, classes) != self._asked[:2]:
            rows = np.array([self._row(tree) for tree in trees], dtype=int)
            columns = np.array([self._column(name) for name in classes], dtype=int)
            self._asked = (list(trees), list(classes), np.ix_(rows, columns))
        return self._asked[2]

    def _resize(self, rows: int, columns: int) -> None:
        for name in ('_count', '_logs', '_seconds', '_fitted', '_unfit', '_failed_at'):
            old = getattr(self, name)
            new = np.zeros((rows, columns))
            new[: old.shape[0], : old.shape[1]] = old
            setattr(self, name, new)
        self._complexities = np.concatenate([self._complexities, np.zeros(rows - len(self._complexities))])

    # --- predicting --------------------------------------------------------------------------------

    def cut_off(self, trial: Trial, now: float) -> None:
        """Keep in mind that a trial was ended here that had not finished, as when it begins anew elsewhere.

        Otherwise only those would be known of a slow class that finished soon.
        """
        self._cut_off.append((trial.tree, trial.compute_class, age(trial, now)))

    def predict(
        self, trees: Sequence[int], classes: Sequence[str], running: Iterable[Trial] = (), now: float = 0.0
    ) -> Floats:
        """Return expected seconds: shape (trees, classes), inf where a trial does not fit.

        Parameters
        ----------
        trees : sequence of int
            Numbers of trees.
        classes : sequence of str
        running : iterable of Trial
            What has not finished; trials that take longer than expected move the expectation.
        now : float
            Seconds, on the clock by which these were started.
        """
        pairs = self._pairs(trees, classes)
        elapsed = self._elapsed(list(running), now)
        used = slice(len(self._rows)), slice(len(self._columns))
        count, logs, sums = (table[used] for table in (self._count, self._logs, self._seconds))
        spread = self._spread()
        means = self._fit(count, logs, spread)
        overdue = _overdue(means, count.sum(axis=1), math.sqrt(spread), *elapsed)
        if overdue is not None:
            places, logarithms = overdue
            count, logs, sums = count.copy(), logs.copy(), sums.copy()
            np.add.at(count, places, 1.0)
            np.add.at(logs, places, logarithms)
            np.add.at(sums, places, np.exp(logarithms))
            means = self._fit(count, logs, spread)
        expected = np.exp(means) * _smearing(count, sums, means, spread)[:, None]
        feasible: Floats = self._where_feasible(expected)[pairs]
        return feasible

    def _elapsed(self, running: Sequence[Trial], now: float) -> tuple[list[int], list[int], list[float]]:
        """Return rows and columns of the trials that run, or did and were ended, and for how long."""
        own = [(trial.tree, trial.compute_class, age(trial, now)) for trial in running] + list(self._cut_off)
        for tree in {tree for tree, _, _ in own}:
            self._row(tree)
        for name in {name for _, name, _ in own}:
            self._column(name)
        rows, columns = [self._rows[tree] for tree, _, _ in own], [self._columns[name] for _, name, _ in own]
        return rows, columns, [seconds - _SLACK for _, _, seconds in own]

    def remaining(
        self, running: Sequence[Trial], classes: Sequence[str], now: float, longest: float = math.inf
    ) -> tuple[Floats, Floats]:
        """Return how long trials that run are expected to go on, and to take when begun anew elsewhere.

        Parameters
        ----------
        running : sequence of Trial
        classes : sequence of str
            Those of the trials must be among them.
        now : float
            Seconds, on the clock by which the trials were started.
        longest : float, default inf
            Seconds after which a trial is ended in any case.

        Returns
        -------
        left : array, shape (trials,)
            Seconds; 0 where nothing can be said.
        anew : array, shape (trials, classes)
            Seconds; inf where no trial of the tree has finished yet, or one did not fit.
        """
        from scipy.special import log_ndtr

        places = {tree: place for place, tree in enumerate(dict.fromkeys(own.tree for own in running))}
        trees, row = list(places), [places[own.tree] for own in running]
        expected = self.predict(trees, classes, running, now)
        here = expected[row, [classes.index(own.compute_class) for own in running]]
        is_known = np.isfinite(here)
        here = np.where(is_known, here, 1.0)
        elapsed = np.array([max(age(own, now), _SHORTEST) for own in running])
        # The mean of a lognormal distribution, given that it is above what has elapsed.
        width = math.sqrt(self._spread())
        z = (np.log(elapsed / here) + width**2 / 2) / width
        total = here * np.exp(log_ndtr(width - z) - log_ndtr(-z))
        total = np.maximum(np.where(np.isfinite(total), np.minimum(total, longest), 0.0), elapsed)
        fits = self.has_fitted(trees, classes) & (self.failures(trees, classes) == 0)
        anew = np.where(fits, expected, np.inf)[row] * (total / here)[:, None]
        return np.where(is_known, total - elapsed, 0.0), anew

    def unlucky(self) -> float:
        """Return how many times its mean a trial may well take: the ninth decile, were seconds lognormal."""
        spread = self._spread()
        return math.exp(_NINTH_DECILE * math.sqrt(spread) - spread / 2)

    def _spread(self) -> float:
        """Return the variance of log seconds within pairs, drawn to a prior worth three trials."""
        count = np.maximum(self._count, 1)
        within = self._squares - float((self._logs**2 / count).sum())
        freedom = float((count - 1).sum())
        return max((within + 3 * _SPREAD) / (freedom + 3), 1e-3)

    def _fit(self, count: Floats, logs: Floats, spread: float) -> Floats:
        """Return expected logarithms: trees and classes by backfitting, and what is left of each pair, shrunk.

        What pairs add counts as noise while trees and classes are fitted, so that few rounds suffice.
        """
        weights = count / (spread + count * _PAIR**2)
        means = logs / np.maximum(count, 1.0)
        per_tree, per_class, total = weights.sum(axis=1), weights.sum(axis=0), max(float(weights.sum()), 1e-12)
        known = per_tree > 0
        steps = self._complexities[: len(count)]
        steps = (steps - steps.mean()) / (steps.std() or 1.0) if len(steps) else steps
        base = float((weights * means).sum()) / total
        slope, tree, own = 0.0, np.zeros(len(count)), np.zeros(count.shape[1])
        for _ in range(_ROUNDS):
            rest = (weights * (means - base - own)).sum(axis=1)
            tree = (rest + slope * steps / _TREE**2) / (per_tree + 1 / _TREE**2)
            slope = float((tree * steps)[known].sum() / ((steps**2)[known].sum() + (_TREE / _SLOPE) ** 2))
            rest = (weights * (means - base - tree[:, None])).sum(axis=0)
            own = rest / (per_class + 1 / _CLASS**2)
            base += float((weights * (means - base - tree[:, None] - own)).sum()) / total
        expected = base + tree[:, None] + own
        fitted: Floats = expected + count * (means - expected) / (count + spread / _PAIR**2)
        return fitted

    def _where_feasible(self, seconds: Floats) -> Floats:
        """Make pairs where trials did not fit longer by what that costs; infinitely long when none ever did."""
        rows, columns = seconds.shape
        fitted, unfit = self._fitted[:rows, :columns], self._unfit[:rows, :columns]
        finished = np.array([self._finished.get(name, 0) for name in self._columns])
        since = finished - self._failed_at[:rows, :columns]
        hopeless = (fitted == 0) & (unfit >= INFEASIBLE) & (since < _RETRY * 10.0 ** np.clip(unfit - INFEASIBLE, 0, 9))
        with np.errstate(divide='ignore', invalid='ignore'):
            wasted = np.where(fitted > 0, 1 + unfit / fitted, 1.0)
        return np.where(hopeless, np.inf, seconds * wasted)

    def has_fitted(self, trees: Sequence[int], classes: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return whether a trial of a tree ever fitted in a class: shape (trees, classes)."""
        pairs = self._pairs(trees, classes)
        fitted: npt.NDArray[np.bool_] = self._fitted[pairs] > 0
        return fitted

    def failures(self, trees: Sequence[int], classes: Sequence[str]) -> Floats:
        """Return how many trials did not fit: shape (trees, classes)."""
        pairs = self._pairs(trees, classes)
        failures: Floats = self._unfit[pairs]
        return failures


def age(trial: Trial, now: float) -> float:
    """Return for how many seconds a trial has run."""
    return 0.0 if trial.started is None else now - trial.started


def _overdue(
    means: Floats, finished: Floats, spread: float, rows: list[int], columns: list[int], elapsed: list[float]
) -> tuple[tuple[Any, Any], Floats] | None:
    """Return which trials run longer than expected, and the logarithms of seconds that are to be expected of them.

    By how much their trees are slower, in every class alike, is estimated first, from what has finished and by
    expectation maximisation for what was cut off. Else an unknown tree whose trials have all run for the same time would
    seem to be equally fast in all classes, and be placed on the slow ones.
    """
    if not elapsed:
        return None
    excess = np.log(np.maximum(elapsed, _SHORTEST)) - means[rows, columns]
    late = np.flatnonzero(excess > 0)
    if not len(late):
        return None
    places, excess = (np.array(rows)[late], np.array(columns)[late]), excess[late]
    tree, expected = places[0], excess
    weights = finished + np.bincount(tree, minlength=len(finished)) + (spread / _TREE) ** 2
    slower = np.zeros(len(finished))
    for _ in range(_ROUNDS):
        expected = np.maximum(slower[tree] + _beyond(excess - slower[tree], spread), excess)
        slower = np.bincount(tree, expected, minlength=len(finished)) / weights
    return places, means[places] + expected


def _beyond(elapsed: Floats, spread: float) -> Floats:
    """Return the mean of a normal distribution around 0 above what has elapsed."""
    from scipy.special import log_ndtr

    z = np.minimum(elapsed / spread, 30.0)
    beyond: Floats = spread * np.exp(-z * z / 2 - log_ndtr(-z)) / math.sqrt(2 * math.pi)
    return beyond


def _smearing(count: Floats, sums: Floats, means: Floats, spread: float) -> Floats:
    """Return the mean of seconds over the exponential of mean logarithms, one for each tree."""
    ratio, trials = (sums / np.exp(means)).sum(axis=1), count.sum(axis=1)
    overall = (ratio.sum() + _SMEARED * math.exp(spread / 2)) / (trials.sum() + _SMEARED)
    factors: Floats = (ratio + _SMEARED * overall) / (trials + _SMEARED)
    return factors
