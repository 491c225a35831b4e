"""The runtime model: expected seconds of a trial of each tree in each compute class."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.records import Trial
from shadho.scheduling.effects import Effects
from shadho.scheduling.hosts import HostWatch

__all__ = ['INFEASIBLE', 'UNFIT', 'RuntimeModel', 'age']

Floats = npt.NDArray[np.float64]

_SHORTEST = 1e-6
"""Lower bound (s) on the seconds of a trial, so that their logarithm is finite. Chosen: a microsecond."""

_TELLING = 0.1
"""Least seconds of a trial that is used to compare workers. In shorter trials, noise of a busy machine looks like a slow
worker. Chosen."""

_TREE, _CLASS, _PAIR, _SLOPE = 1.0, 1.0, 0.8, 0.5
"""Prior standard deviations of log seconds: trees, classes, pairs (affinity), effect of complexity. Smaller
ones shrink more, which resists noise but learns differences later. Chosen: a factor of e between typical trees or classes,
and of about 2 for affinity."""

_SPREAD = 0.5
"""Prior variance of log seconds among trials of one pair, worth three trials. A larger one trusts single trials less.
Chosen."""

_SLACK = 1.0
"""Allowance (s) for delays of a trial's start and result before it counts as overdue. Larger values notice slow pairs
later. Chosen."""

_USUAL = 3
"""Trials of a pair before its mean serves to compare workers. Fewer would let one odd trial define the mean. Chosen."""

_SMEARED = 3.0
"""Weight, in trials, of the prior of a smearing factor. More weight resists outliers, less follows each tree. Chosen."""

_NINTH_DECILE = 1.2816
"""Ninth decile of the standard normal distribution."""

_MOST_CUT_OFF = 100
"""Latest moved trials that the model remembers. More keep slow pairs known for longer, at a cost in each prediction.
Chosen."""

_ROUNDS = 10
"""Rounds of backfitting and of expectation maximisation. More are closer to convergence, at a cost in each plan. Chosen."""

UNFIT = ('memory', 'crash')
"""Kinds of failure that the hardware may cause; a process without enough memory is often killed."""

INFEASIBLE = 3
"""Failures of an `UNFIT` kind after which a pair without a fitting trial is infeasible. Fewer save trials; more resist
crashes by chance. Chosen."""

_RETRY = 100
"""Finished trials of a class, or of all classes if there is one tree, before an infeasible pair is retried. Each failure multiplies
them by ten. Shorter waits waste trials, longer ones find out later that a pair fits after all. Chosen."""


class RuntimeModel:
    """Expected seconds of a trial of each tree in each class.

    Log seconds are modelled as a sum, base + tree + class + pair, with shrinkage of each part. One
    trial thus informs its tree in every class, and a pair without trials borrows from its tree and
    its class. The prior mean of a tree depends on its complexity. Duan's smearing factor of each
    tree turns expected log seconds into expected seconds.

    Parameters
    ----------
    complexity : callable
        Returns the complexity of a tree from its number.
    effects : Effects, optional
        What the parameters of a trial add to its seconds: a class in which small settings ran is not as fast as it looks.

    Notes
    -----
    Partial pooling: D. Bates et al., *Fitting linear mixed-effects models using lme4* (2015).
    Smearing: N. Duan, *Smearing estimate: a nonparametric retransformation method* (1983). The model
    keeps only sums, so its cost does not grow with the number of trials.
    """

    def __init__(self, complexity: Callable[[int], float], effects: Effects | None = None) -> None:
        self._complexity = complexity
        self._effects = effects
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
        """Learn from a finished trial: its seconds, or that it did not fit in its class.

        A trial whose objective raised an exception fitted: its parameters are to blame, not the hardware.
        """
        kind = '' if trial.error is None else trial.error.kind
        row, column = self._row(trial.tree), self._column(trial.compute_class)
        if kind != 'lost':
            # A class where the only tree does not fit has no trials; it waits for those of the others.
            for name in self._columns if len(self._rows) == 1 else (trial.compute_class,):
                self._finished[name] = self._finished.get(name, 0) + 1
        if kind in UNFIT:
            self._unfit[row, column] += 1
            self._failed_at[row, column] = self._finished[trial.compute_class]
        elif kind != 'lost':
            self._fitted[row, column] += 1
        if kind not in ('', 'timeout'):  # early failures would make the tree look fast
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
        if self._effects is not None and (self._effects.is_asked or len(self._columns) > 1):
            self._effects.tell(trial, logarithm)

    def know(self, trial: Trial) -> None:
        """Register the tree and class of a trial that begins.

        Sums then run in the order of the log, whenever predictions are made, and round the same.
        """
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
        """Return indices of trees and classes into the tables; the latest are cached, as calls repeat."""
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
        """Record how long a trial ran before it moved to another class.

        Otherwise the model would know only the short trials of a slow class.
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
            Unfinished trials; those that take longer than expected raise the expectation.
        now : float
            Seconds, on the clock of the trials' `started`.
        """
        pairs = self._pairs(trees, classes)
        elapsed = self._elapsed(list(running), now)
        used = slice(len(self._rows)), slice(len(self._columns))
        count, logs, sums = (table[used] for table in (self._count, self._logs, self._seconds))
        if self._effects is not None and self._effects.selected:
            logs, sums = logs.copy(), sums.copy()
            for tree, name, shift in self._effects.shifts(classes):
                place = self._rows[tree], self._columns[name]
                logs[place] -= count[place] * shift
                sums[place] *= math.exp(-shift)
        spread = self._spread()
        means = self._fit(count, logs, spread)
        overdue = _overdue(means, count.sum(axis=1), math.sqrt(spread), *elapsed)
        if overdue is not None:  # refit once, with each overdue trial as a finished one of its expected seconds
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
        """Return rows, columns and elapsed seconds of the trials that run or were moved."""
        unfinished = [(trial.tree, trial.compute_class, age(trial, now)) for trial in running] + list(self._cut_off)
        for tree in {tree for tree, _, _ in unfinished}:
            self._row(tree)
        for name in {name for _, name, _ in unfinished}:
            self._column(name)
        rows = [self._rows[tree] for tree, _, _ in unfinished]
        columns = [self._columns[name] for _, name, _ in unfinished]
        return rows, columns, [seconds - _SLACK for _, _, seconds in unfinished]

    def remaining(
        self, running: Sequence[Trial], classes: Sequence[str], now: float, longest: float = math.inf
    ) -> tuple[Floats, Floats]:
        """Return the remaining seconds of running trials, and their seconds after a restart elsewhere.

        Parameters
        ----------
        running : sequence of Trial
        classes : sequence of str
            Includes the classes of the trials.
        now : float
            Seconds, on the clock of the trials' `started`.
        longest : float, default inf
            Time limit of a trial in seconds.

        Returns
        -------
        left : array, shape (trials,)
            Seconds; 0 where unknown.
        restarted : array, shape (trials, classes)
            Seconds; inf where no trial of the tree has finished yet, or one did not fit.
        """
        from scipy.special import log_ndtr

        places = {tree: place for place, tree in enumerate(dict.fromkeys(trial.tree for trial in running))}
        trees, row = list(places), [places[trial.tree] for trial in running]
        expected = self.predict(trees, classes, running, now)
        here = expected[row, [classes.index(trial.compute_class) for trial in running]]
        is_known = np.isfinite(here)
        here = np.where(is_known, here, 1.0)
        elapsed = np.array([max(age(trial, now), _SHORTEST) for trial in running])
        # The mean of a lognormal distribution truncated below at the elapsed seconds.
        width = math.sqrt(self._spread())
        z = (np.log(elapsed / here) + width**2 / 2) / width
        total = here * np.exp(log_ndtr(width - z) - log_ndtr(-z))
        total = np.maximum(np.where(np.isfinite(total), np.minimum(total, longest), 0.0), elapsed)
        fits = self.has_fitted(trees, classes) & (self.failures(trees, classes) == 0)
        # A trial that is long for its tree here is as long for its tree elsewhere.
        restarted = np.where(fits, expected, np.inf)[row] * (total / here)[:, None]
        return np.where(is_known, total - elapsed, 0.0), restarted

    def unlucky(self) -> float:
        """Return the ratio of the ninth decile of a trial's seconds to their mean, if they are lognormal."""
        spread = self._spread()
        return math.exp(_NINTH_DECILE * math.sqrt(spread) - spread / 2)

    def _spread(self) -> float:
        """Return the variance of log seconds within pairs, shrunk towards a prior worth three trials."""
        count = np.maximum(self._count, 1)
        within = self._squares - float((self._logs**2 / count).sum())
        freedom = float((count - 1).sum())
        return max((within + 3 * _SPREAD) / (freedom + 3), 1e-3)

    def _fit(self, count: Floats, logs: Floats, spread: float) -> Floats:
        """Return expected log seconds: tree and class effects by backfitting, plus shrunk pair residuals."""
        # Pair effects count as noise in the weights: trees and classes then converge in few rounds.
        weights = count / (spread + count * _PAIR**2)
        means = logs / np.maximum(count, 1.0)
        per_tree, per_class, total = weights.sum(axis=1), weights.sum(axis=0), max(float(weights.sum()), 1e-12)
        known = per_tree > 0
        steps = self._complexities[: len(count)]
        # Standardised, so that the prior of the slope does not depend on the units of complexity.
        steps = (steps - steps.mean()) / (steps.std() or 1.0) if len(steps) else steps
        base = float((weights * means).sum()) / total
        slope, tree, column = 0.0, np.zeros(len(count)), np.zeros(count.shape[1])
        for _ in range(_ROUNDS):
            rest = (weights * (means - base - column)).sum(axis=1)
            tree = (rest + slope * steps / _TREE**2) / (per_tree + 1 / _TREE**2)
            slope = float((tree * steps)[known].sum() / ((steps**2)[known].sum() + (_TREE / _SLOPE) ** 2))
            rest = (weights * (means - base - tree[:, None])).sum(axis=0)
            column = rest / (per_class + 1 / _CLASS**2)
            base += float((weights * (means - base - tree[:, None] - column)).sum()) / total
        expected = base + tree[:, None] + column
        fitted: Floats = expected + count * (means - expected) / (count + spread / _PAIR**2)
        return fitted

    def _where_feasible(self, seconds: Floats) -> Floats:
        """Add the time lost in trials that did not fit; inf for infeasible pairs until their retry."""
        rows, columns = seconds.shape
        fitted, unfit = self._fitted[:rows, :columns], self._unfit[:rows, :columns]
        finished = np.array([self._finished.get(name, 0) for name in self._columns])
        since = finished - self._failed_at[:rows, :columns]
        hopeless = (fitted == 0) & (unfit >= INFEASIBLE) & (since < _RETRY * 10.0 ** np.clip(unfit - INFEASIBLE, 0, 9))
        with np.errstate(divide='ignore', invalid='ignore'):
            wasted = np.where(fitted > 0, 1 + unfit / fitted, 1.0)  # attempts per trial that fits
        return np.where(hopeless, np.inf, seconds * wasted)

    def has_fitted(self, trees: Sequence[int], classes: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return whether any trial of a tree has fitted in a class: shape (trees, classes)."""
        pairs = self._pairs(trees, classes)
        fitted: npt.NDArray[np.bool_] = self._fitted[pairs] > 0
        return fitted

    def failures(self, trees: Sequence[int], classes: Sequence[str]) -> Floats:
        """Return the number of trials that did not fit: shape (trees, classes)."""
        pairs = self._pairs(trees, classes)
        failures: Floats = self._unfit[pairs]
        return failures


def age(trial: Trial, now: float) -> float:
    """Return the seconds that a trial has run."""
    return 0.0 if trial.started is None else now - trial.started


def _overdue(
    means: Floats, finished: Floats, spread: float, rows: list[int], columns: list[int], elapsed: list[float]
) -> tuple[tuple[Any, Any], Floats] | None:
    """Return the places and expected log seconds of overdue trials; None if there are none.

    Expectation maximisation first estimates how much slower their trees are, in all classes alike. Otherwise an unknown
    tree, whose trials have all run equally long, would look equally fast in all classes and be placed on slow ones.
    """
    if not elapsed:
        return None
    excess = np.log(np.maximum(elapsed, _SHORTEST)) - means[rows, columns]
    late = np.flatnonzero(excess > 0)
    if not len(late):
        return None
    places, excess = (np.array(rows)[late], np.array(columns)[late]), excess[late]
    tree, expected = places[0], excess
    # The last term is the prior of a tree's deviation, in trials: few overdue trials move it little.
    weights = finished + np.bincount(tree, minlength=len(finished)) + (spread / _TREE) ** 2
    slower = np.zeros(len(finished))
    for _ in range(_ROUNDS):
        expected = np.maximum(slower[tree] + _beyond(excess - slower[tree], spread), excess)
        slower = np.bincount(tree, expected, minlength=len(finished)) / weights
    return places, means[places] + expected


def _beyond(elapsed: Floats, spread: float) -> Floats:
    """Return the mean of a normal distribution around 0, truncated below at `elapsed`."""
    from scipy.special import log_ndtr

    # The exponential of logarithms stays finite where density and tail both underflow; 30 bounds the logarithms.
    z = np.minimum(elapsed / spread, 30.0)
    beyond: Floats = spread * np.exp(-z * z / 2 - log_ndtr(-z)) / math.sqrt(2 * math.pi)
    return beyond


def _smearing(count: Floats, sums: Floats, means: Floats, spread: float) -> Floats:
    """Return the smearing factor of each tree: mean seconds over the exponential of mean log seconds."""
    ratio, trials = (sums / np.exp(means)).sum(axis=1), count.sum(axis=1)
    overall = (ratio.sum() + _SMEARED * math.exp(spread / 2)) / (trials.sum() + _SMEARED)
    factors: Floats = (ratio + _SMEARED * overall) / (trials + _SMEARED)
    return factors
