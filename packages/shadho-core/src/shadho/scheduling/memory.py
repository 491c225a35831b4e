"""Memory: which settings of a tree fit in a compute class."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.records import Trial
from shadho.scheduling.effects import Effects
from shadho.scheduling.fit import has_fitted
from shadho.scheduling.planner import Plan

__all__ = ['MemoryLimits']

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]
Points = Sequence[Any] | Floats

_CLASS, _TREE, _EFFECTS = 4.0, 1.0, 7.0
"""Prior standard deviations of the probit of a failure: in a class, of a tree, and as multiples of those of effects on log seconds.
Memory ends sharply, so they are large. Smaller ones waste more trials at the edge (``benchmarks/placement.py``)."""

_MOST_TREES = 50
"""Trees with a weight of their own; those that come later share only the weights of their leaves. Chosen."""

_MOST_NEW = 256
"""Trees without a trial whose leaves are looked up in one plan. More are known sooner, at some 50 µs each. Chosen."""

_CHANCE = 0.02
"""Least probability of a failure, and of none: a single crash by chance moves the edge little. Chosen."""

_DOUBT = 0.4
"""Weight of the variance of a weight in a prediction. With 1, parameters that no trial has shown are taken for a risk of one half,
and what fits is held back; with 0, twice as many trials fail at the edge."""

_EARLY = 64
"""Latest trials of a class that are remembered until its first failure. Chosen."""

_KNOWN = 0.3
"""Gain of the log likelihood over that of failures by chance from which parameters count. More waste trials, fewer follow chance."""

_SAFE, _MOST, _FALLING = 0.1, 0.4, 1.0
"""Risk below which any number of trials of a class may run, and above which none; one at a time may run between, with a risk of no
more than 1 by the failures of the class. Of some, the least wasted trials at 95 % of the trials that fit."""

_RETRY = 100
"""Trials of a class after its last failure, for each failure so far, until one of any risk may run. Shorter waits waste trials,
longer ones find out later that a setting fits after all. Chosen."""


class _Limit:
    """What is believed of the weights of features in one class: a normal distribution."""

    def __init__(self) -> None:
        self.mean = np.zeros(0)
        self.covariance = np.zeros((0, 0))
        self.trials = self.failures = 0
        self.quiet = 0  # trials since the last failure
        self.gain = 0.0  # of log likelihood, over failures by chance

    def grow(self, scales: Sequence[float]) -> None:
        """Make room for further features, of these prior standard deviations."""
        old = len(self.mean)
        self.mean = np.pad(self.mean, (0, len(scales) - old))
        self.covariance = np.pad(self.covariance, (0, len(scales) - old))
        new = np.arange(old, len(scales))
        self.covariance[new, new] = np.square(scales[old:])

    def risks(self, places: Integers, features: Floats) -> Floats:
        """Return the probability of a failure: shape (points,)."""
        from scipy.special import ndtr

        variance = np.einsum('ij,jk,ik->i', features, self.covariance[np.ix_(places, places)], features)
        probit = features @ self.mean[places] / np.sqrt(1 + _DOUBT * variance)
        risks: Floats = _CHANCE + (1 - 2 * _CHANCE) * ndtr(probit)
        return risks

    def tell(self, places: Integers, features: Floats, fitted: bool) -> None:
        """Learn whether a trial fitted: shape of its features (features,)."""
        sign = -1.0 if fitted else 1.0
        spread = self.covariance[:, places] @ features
        variance = 1 + float(features @ spread[places])
        probit = sign * float(features @ self.mean[places]) / math.sqrt(variance)
        likelihood = _CHANCE + (1 - 2 * _CHANCE) * math.erfc(-probit / math.sqrt(2)) / 2
        slope = (1 - 2 * _CHANCE) * math.exp(-(probit**2) / 2) / math.sqrt(2 * math.pi) / likelihood
        self.mean += sign * slope / math.sqrt(variance) * spread
        self.covariance -= slope * (slope + probit) / variance * np.outer(spread, spread)
        by_chance = (self.failures + 0.5) / (self.trials + 1)
        self.gain += math.log(likelihood) - math.log(1 - by_chance if fitted else by_chance)
        self.trials += 1
        self.failures += not fitted
        self.quiet = self.quiet + 1 if fitted else 0


class MemoryLimits:
    """Learns in which classes a setting fails for lack of memory or by a crash, as a function of its parameters.

    The probit of a failure in a class is modelled as a sum over the class, the tree and the features of `Effects`, which trees share by
    the paths of their leaves. A setting is held back from classes where it is likely to fail, and runs where it is least likely to. So
    one that fits nowhere is begun all the same, once.

    Parameters
    ----------
    effects : Effects
        Gives the features.

    Notes
    -----
    Probit regression by assumed density filtering, at the cost of O(features squared) for each result: M. Opper, *A Bayesian approach
    to on-line learning* (1998). Nothing counts before it has predicted failures better than their number does, so failures
    by chance hold nothing back.
    """

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._plan = Plan()
        self._early: dict[str, deque[tuple[int, tuple[float, ...], bool]]] = {}  # trials of classes without a failure
        self._limits: dict[str, _Limit] = {}
        self._pairs: dict[tuple[int, str], bool] = {}  # whether any trial of a tree has fitted in a class
        self._scales: list[float] = [_CLASS]
        self._columns: dict[int, int] = {}  # of features of the effects
        self._places: dict[int, Integers] = {}
        self._probes: dict[int, str] = {}  # running trials that may well fail, and their classes

    # --- learning ----------------------------------------------------------------------------------

    def lay_out(self, plan: Plan) -> None:
        """Follow a new plan."""
        self._plan = plan
        if self._limits:
            new = (tree for tree in plan.layout.columns if tree not in self._places)
            for tree in itertools.islice(new, _MOST_NEW):
                self._know(tree)

    def begun(self, trial: Trial) -> None:
        """Note an attempt that begins, if it may well fail."""
        if self.risks(trial.tree, [trial.point], [trial.compute_class])[0, 0] > _SAFE:
            self._probes[trial.id] = trial.compute_class

    def ended(self, trial: Trial) -> None:
        """Learn from the end of an attempt."""
        self._probes.pop(trial.id, None)
        fitted, name = has_fitted(trial), trial.compute_class
        if fitted is None or len(self._plan.layout.rows) < 2:
            return
        pair = trial.tree, name
        self._pairs[pair] = fitted or self._pairs.get(pair, False)
        if name in self._limits:
            self._tell(trial.tree, trial.point, name, fitted)
            return
        early = self._early.setdefault(name, deque(maxlen=_EARLY))
        early.append((trial.tree, trial.point, fitted))
        if not fitted:
            self._limits[name] = _Limit()
            for tree, point, has_run in self._early.pop(name):
                self._tell(tree, point, name, has_run)

    def _tell(self, tree: int, point: Sequence[float], compute_class: str, fitted: bool) -> None:
        self._know(tree)
        limit = self._limits[compute_class]
        limit.grow(self._scales)
        limit.tell(self._places[tree], self._features(tree, [point])[0], fitted)

    def _know(self, tree: int) -> None:
        """Give the features of a tree their places; only events lead here, so that a log brings back the same ones."""
        if tree in self._places:
            return
        places = [0]
        if len(self._places) < _MOST_TREES:
            places.append(self._add(_TREE))
        for feature, scale in self._effects.places(tree):
            if feature not in self._columns:
                self._columns[feature] = self._add(_EFFECTS * scale)
            places.append(self._columns[feature])
        self._places[tree] = np.array(places, dtype=np.intp)
        for limit in self._limits.values():
            limit.grow(self._scales)

    def _add(self, scale: float) -> int:
        self._scales.append(scale)
        return len(self._scales) - 1

    # --- what fits ---------------------------------------------------------------------------------

    @property
    def is_limited(self) -> bool:
        """Whether any trial has not fitted in its class."""
        return bool(self._limits)

    def holds_back(self, tree: int, compute_class: str) -> bool:
        """Whether any setting of a tree may be held back from a class."""
        return self._is_known(tree, compute_class) or self._has_only_failed(tree, compute_class)

    def _is_known(self, tree: int, compute_class: str) -> bool:
        """Whether parameters predict failures in a class better than their number does."""
        limit = self._limits.get(compute_class)
        return limit is not None and limit.gain > _KNOWN and tree in self._places

    def _has_only_failed(self, tree: int, compute_class: str) -> bool:
        return self._pairs.get((tree, compute_class)) is False

    def risks(self, tree: int, points: Points, classes: Sequence[str] | None = None) -> Floats:
        """Return the probability that settings fail: shape (points, classes), those of the plan by default; 0 where nothing is known."""
        names = list(self._plan.layout.rows) if classes is None else classes
        risks = np.zeros((len(points), len(names)))
        known = [column for column, name in enumerate(names) if self._is_known(tree, name)]
        features = self._features(tree, points) if known else risks
        for column in known:
            risks[:, column] = self._limits[names[column]].risks(self._places[tree], features)
        return risks

    def fits(self, tree: int, points: Points, compute_class: str) -> Flags:
        """Return which settings a class may begin, as flags: those with little risk there, and those with no less in any other class.

        Until one of the tree has fitted, it is the one least like those that have failed.
        """
        layout = self._plan.layout
        row, column = layout.rows.get(compute_class), layout.columns.get(tree)
        if row is None or column is None or not self.holds_back(tree, compute_class):
            return np.ones(len(points), dtype=bool)
        if self._has_only_failed(tree, compute_class):
            risks = self._limits[compute_class].risks(self._places[tree], self._features(tree, points))
            return np.asarray(risks == risks.min())
        may_run = np.isfinite(self._plan.seconds[:, column])
        risks = np.where(may_run, self.risks(tree, points), 1.0)
        fits: Flags = (risks[:, row] <= self._most(compute_class)) | (risks[:, row] <= risks.min(axis=1))
        return fits

    def _most(self, compute_class: str) -> float:
        """Return the risk up to which a class may begin a trial now."""
        limit = self._limits[compute_class]
        if compute_class in self._probes.values():
            return _SAFE
        if limit.quiet >= _RETRY * limit.failures:
            return 1.0
        return min(max(_FALLING / limit.failures, _SAFE), _MOST)

    def _features(self, tree: int, points: Points) -> Floats:
        """Return the features of points, of which the first are those of class and tree: shape (points, features)."""
        own = self._effects.features(tree, points)
        return np.hstack([np.ones((len(points), len(self._places[tree]) - own.shape[1])), own])
