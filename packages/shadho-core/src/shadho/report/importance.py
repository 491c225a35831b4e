"""How much of the loss, or of the seconds, each parameter explains: functional analysis of variance, over a random forest.

Hutter, Hoos and Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter Importance* (ICML
2014): each regression tree of a random forest cuts the space into boxes of constant loss, from
which the mean over all other parameters, the marginal, follows exactly.

A hierarchical space is a mixture of cubes, one for each tree of the search. There, the variance is
that between trees, which belongs to the decisions that make them, and that within them, which
belongs to their parameters: V = Var[E(f | tree)] + E[Var(f | tree)], all trees seen counting the same.

All of that is about the forest's predictions, of which noise has its part. So shares are multiplied by how much of the
variance of the loss the forest explains out of sample: they sum to that at most, and to nothing where all is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Path
from shadho.forest.tree import show_path
from shadho.report.course import Course
from shadho.report.layout import evenly
from shadho.report.parameters import root_name
from shadho.result import SearchResult

__all__ = ['Importance', 'most_important', 'parameter_importance']

Floats = npt.NDArray[np.float64]

_FEWEST = 10
"""Trials from which a forest can learn something."""

_INACTIVE = -1.0
"""The value of what a tree does not have: a coordinate apart from the unit interval, a code of its own."""

_MOST_TREES = 500
"""Trees of a search that are looked at, evenly chosen: with fewer, chance makes decisions look as if they mattered."""

_MOST_WITHIN = 50
"""Of these, trees within which the variance is taken apart; the others are alike."""

_MOST_TRIALS = 10_000
"""Trials that the forest knows of, evenly chosen: with 50,000 it takes three times as long, and explains as much."""

_MOST_TIMED = 1000
"""Likewise where seconds are explained, which are far less noisy than losses."""

_ROUNDS = 10
"""Rounds of backfitting, in which seconds of trees and of compute classes are told apart."""

_FOREST = {'n_estimators': 64, 'max_leaf_nodes': 256, 'random_state': 0}
_LEAVES = (2, 8, 24)
"""Trials in a leaf at least: few where losses are exact, many where they are noisy, whichever predicts best out of sample."""

_EXACT = 0.9
"""The share of the variance from which no other is tried."""

_SAMPLES = 2000
"""Trials that each regression tree learns from at most, so that ten thousand take seconds."""


@attrs.frozen(eq=False)
class Importance:
    """How much of the variance of the loss, or of the seconds, each parameter explains by itself.

    Attributes
    ----------
    names : list of str
        Parameters, and the decisions that make the trees ('tree', for one that chooses between
        whole spaces, if no parameter has that name); the most important first.
    shares : array, shape (names,)
        Of the variance, from 0 to 1; they sum to `explained` at most.
    spread : array, shape (names,)
        Standard deviation of the shares over the trees of the random forest.
    explained : float
        The share of the variance that the forest explains in trials that it has not learned from, from 0 to 1. The
        rest is noise, or what only more trials will tell.
    log : bool
        Whether it is the logarithm that was explained.
    loss_name : str
        What the loss is called; 'seconds' where these were explained.
    """

    names: list[str]
    shares: Floats
    spread: Floats
    explained: float
    log: bool
    loss_name: str = 'loss'

    @property
    def measure(self) -> str:
        """What the shares are of, for a legend."""
        return f'{"log of the " if self.log else ""}{self.loss_name} ({self.explained:.0%} explained)'

    def named(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        """Return shares and spread of some parameters; 0 for those that it does not know."""
        places = {name: place for place, name in enumerate(self.names)}
        known = [places.get(name, len(places)) for name in names]
        return np.append(self.shares, 0.0)[known], np.append(self.spread, 0.0)[known]

    @property
    def rest(self) -> float:
        """The share of interactions and of noise, which no parameter explains by itself."""
        return max(0.0, 1.0 - float(self.shares.sum()))


def parameter_importance(result: SearchResult | Course, of: Literal['loss', 'seconds'] = 'loss') -> Importance:
    """Say how much of the variance of the loss, or of the seconds, each parameter explains by itself.

    Failed trials and infinite losses are left out, losses that are worse than all others by far count as less bad,
    and losses that span decades count by their logarithm. The mean over other parameters is that over their domains,
    not over the trials, of which good methods make more where the loss is low. Needs scikit-learn (``pip install scikit-learn``).

    Parameters
    ----------
    result : SearchResult
    of : {'loss', 'seconds'}, default 'loss'
        What is to be explained. 'seconds' are the logarithms of those of a trial, less what its compute class adds; of one that reports on the
        way, of a step.

    Raises
    ------
    ConfigurationError
        When fewer than ten trials have a finite loss, or scikit-learn is missing.
    """
    if of not in ('loss', 'seconds'):
        raise ConfigurationError(f"of must be 'loss' or 'seconds'; got {of!r}")
    course = Course.of(result).comparable
    most = _MOST_TRIALS if of == 'loss' else _MOST_TIMED
    rows = course.has_number
    if rows.sum() < _FEWEST:
        raise ConfigurationError(
            f'importance needs {_FEWEST} trials with a finite {course.result.loss_name}; {course.result.exp_key!r} has {rows.sum()}'
        )
    if rows.sum() > most:
        rows = np.zeros(len(course), bool)
        rows[evenly(np.flatnonzero(course.has_number), most)] = True
    trees, first = np.unique(course.trees[rows], return_index=True)
    decisions, codes = _decisions([course.result.forest.tree(tree).decisions for tree in trees])
    inputs = np.column_stack(
        [
            np.array([own.coordinates[rows] for own in course.parameters]).reshape(-1, rows.sum()).T,
            codes[np.searchsorted(trees, course.trees[rows])],
        ]
    )
    inputs[np.isnan(inputs)] = _INACTIVE
    found = course.sign * course.bounded_places()[rows] if of == 'loss' else _log_seconds(course, rows)
    values = _standardise(_cap(found))
    model = _fit(inputs, values)
    count = len(course.parameters)
    chosen = np.unique(np.linspace(0, len(trees) - 1, min(len(trees), _MOST_TREES)).astype(int))
    settings = [_Setting.of(inputs[first[place]], count) for place in chosen]
    some = len(chosen) < course.result.forest.count
    parts = np.array([_shares(tree.tree_, settings, codes[chosen], count, some) for tree in model.estimators_])
    explained = min(max(float(model.oob_score_), 0.0), 1.0) if np.ptp(values) > 0 else 0.0
    shares = parts.mean(axis=0)
    scale = explained / max(1.0, float(shares.sum()))
    order = np.argsort(-shares, kind='stable')
    names = [own.name for own in course.parameters] + [
        show_path(path) if path else root_name(course.result.forest) for path in decisions
    ]
    return Importance(
        [names[place] for place in order], scale * shares[order], scale * parts.std(axis=0)[order], explained,
        course.is_log if of == 'loss' else True, course.measured if of == 'loss' else 'seconds',
    )  # fmt: skip


def _log_seconds(course: Course, rows: npt.NDArray[np.bool_]) -> Floats:
    """Return the logarithms of the seconds of some trials, less what their compute classes add."""
    chosen = [trial for trial, is_chosen in zip(course.trials, rows) if is_chosen]
    logs = np.log([max(trial.seconds or 0.0, 1e-6) / max(trial.step, 1) for trial in chosen])
    _, classes = np.unique(course.classes[rows].astype(str), return_inverse=True)
    _, trees = np.unique(course.trees[rows], return_inverse=True)
    of_classes = of_trees = np.zeros(len(logs))
    for _ in range(_ROUNDS):  # trees of few trials are shrunk, as these may all be of one class
        of_trees = (np.bincount(trees, logs - of_classes) / (np.bincount(trees) + 1))[trees]
        of_classes = (np.bincount(classes, logs - of_trees) / np.bincount(classes))[classes]
    return logs - of_classes


def most_important(found: Sequence[Importance], limit: int) -> list[str]:
    """Return the parameters with the largest share of anything, in the order of their shares of the first."""
    names = found[0].names
    largest = np.max([own.named(names)[0] for own in found], axis=0)
    chosen = set(np.argsort(-largest, kind='stable')[:limit].tolist())
    return [name for place, name in enumerate(names) if place in chosen]


def _cap(losses: Floats) -> Floats:
    """Let no loss be worse than three quarters of the others by more than three times their middle half (Tukey).

    A few trials that went wholly wrong would explain all of the variance.
    """
    first, third = np.quantile(losses, [0.25, 0.75])
    return np.minimum(losses, third + 3 * (third - first)) if third > first else losses


def _standardise(losses: Floats) -> Floats:
    """Return losses from 0 to 1: shares of variance have no unit."""
    width = float(np.ptp(losses))
    return (losses - losses.min()) / width if width > 0 else np.zeros(len(losses))


def _decisions(own: Sequence[dict[Path, str]]) -> tuple[list[Path], Floats]:
    """Return the decisions on which trees differ, and the number of what each tree decided."""
    paths = list(dict.fromkeys(path for decisions in own for path in decisions))
    codes = np.full((len(own), len(paths)), _INACTIVE)
    for column, path in enumerate(paths):
        known = {decision: number for number, decision in enumerate(sorted({of[path] for of in own if path in of}))}
        codes[:, column] = [known[of[path]] if path in of else _INACTIVE for of in own]
    differ = [place for place in range(len(paths)) if np.ptp(codes[:, place]) > 0]
    return [paths[place] for place in differ], codes[:, differ]


def _fit(inputs: Floats, losses: Floats) -> Any:
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise ConfigurationError(
            'importance needs scikit-learn, which is not installed: pip install scikit-learn'
        ) from error
    samples = min(len(losses), _SAMPLES)
    best = None
    for least in _LEAVES:
        model = RandomForestRegressor(**_FOREST, min_samples_leaf=least, max_samples=samples, oob_score=True)
        model.fit(inputs, losses)
        if best is not None and model.oob_score_ <= best.oob_score_:
            break
        best = model
        if model.oob_score_ > _EXACT:
            break
    return best


@attrs.frozen(eq=False)
class _Setting:
    """What is fixed in one tree of the search: inactive parameters and decisions; all else varies from 0 to 1."""

    values: Floats
    fixed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, row: Floats, parameters: int) -> _Setting:
        return cls(row, (row == _INACTIVE) | (np.arange(len(row)) >= parameters))


def _shares(tree: Any, settings: Sequence[_Setting], codes: Floats, parameters: int, some: bool) -> Floats:
    """Return the share of every parameter and decision in the variance that one regression tree predicts.

    `some` says that there are more trees in the search than `settings`.
    """
    lower, upper, values = _boxes(tree)
    means = np.array([_mean(lower, upper, values, setting) for setting in settings])
    looked_into = np.unique(np.linspace(0, len(settings) - 1, min(len(settings), _MOST_WITHIN)).astype(int))
    variances, within = np.empty(len(looked_into)), np.zeros((len(looked_into), parameters))
    for row, place in enumerate(looked_into):
        own, varied = _inside(lower, upper, settings[place])
        _, variances[row], within[row, varied] = _marginals(
            lower[np.ix_(own, varied)], upper[np.ix_(own, varied)], values[own]
        )
    total = means.var() + variances.mean()
    if total <= 1e-12 * max(1.0, float(np.abs(values).max()) ** 2):
        return np.zeros(parameters + codes.shape[1])
    between = [_variance_of_groups(means, column, some) for column in codes.T]
    shares: Floats = np.concatenate([within.mean(axis=0), between]) / total
    return shares


def _inside(lower: Floats, upper: Floats, setting: _Setting) -> tuple[Any, Any]:
    """Return which boxes reach into one tree of the search, and which of its dimensions vary."""
    fixed = setting.values[setting.fixed]
    own = ((lower[:, setting.fixed] < fixed) & (fixed <= upper[:, setting.fixed])).all(axis=1)
    return own, np.flatnonzero(~setting.fixed)


def _mean(lower: Floats, upper: Floats, values: Floats, setting: _Setting) -> float:
    """Return the mean of what is predicted in one tree of the search."""
    own, varied = _inside(lower, upper, setting)
    widths = (upper[np.ix_(own, varied)].clip(0.0, 1.0) - lower[np.ix_(own, varied)].clip(0.0, 1.0)).clip(0.0)
    return float(widths.prod(axis=1) @ values[own])


def _boxes(tree: Any) -> tuple[Floats, Floats, Floats]:
    """Return the box of each leaf, open below and closed above, and the value in it."""
    lower = np.full((tree.node_count, tree.n_features), -np.inf)
    upper = np.full((tree.node_count, tree.n_features), np.inf)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right)):  # children come after parents
        if left == right:
            continue
        feature, threshold = tree.feature[node], tree.threshold[node]
        for child in (left, right):
            lower[child], upper[child] = lower[node], upper[node]
        upper[left, feature] = lower[right, feature] = threshold
    leaves = tree.children_left == tree.children_right
    return lower[leaves], upper[leaves], tree.value[leaves, 0, 0]


def _marginals(lower: Floats, upper: Floats, values: Floats) -> tuple[float, float, Floats]:
    """Return mean and variance of a function that is constant in boxes, and the variance of each marginal.

    Parameters
    ----------
    lower, upper : array, shape (boxes, dimensions)
        They fill the unit cube, apart from what lies outside of it.
    values : array, shape (boxes,)
    """
    lower, upper = lower.clip(0.0, 1.0), upper.clip(0.0, 1.0)
    widths = upper - lower
    inside = (widths > 0).all(axis=1)
    lower, upper, widths, values = lower[inside], upper[inside], widths[inside], values[inside]
    volumes = widths.prod(axis=1)
    mean = float(volumes @ values)
    deviations = values - mean
    variance = float(volumes @ deviations**2)
    marginals = np.zeros(widths.shape[1])
    for own in np.flatnonzero((widths < 1.0).any(axis=0)):  # the others are never cut
        edges = np.unique([lower[:, own], upper[:, own]])
        parts = volumes / widths[:, own] * deviations
        rises = np.zeros(len(edges))
        np.add.at(rises, np.searchsorted(edges, lower[:, own]), parts)
        np.add.at(rises, np.searchsorted(edges, upper[:, own]), -parts)
        marginals[own] = np.diff(edges) @ np.cumsum(rises)[:-1] ** 2
    return mean, variance, marginals


def _variance_of_groups(means: Floats, codes: Floats, some: bool) -> float:
    """Return the variance of the means of trees that decided alike, among those where there was something to decide.

    Where these are only some of the trees, less what chance alone would make of it (one-way analysis of variance).
    """
    active = codes != _INACTIVE
    own = means[active]
    _, groups, counts = np.unique(codes[active], return_inverse=True, return_counts=True)
    of_groups = np.bincount(groups.ravel(), weights=own) / counts
    between = float(counts @ (of_groups - own.mean()) ** 2)
    if some and len(own) > len(counts):
        within = float(((own - own.mean()) ** 2).sum()) - between
        between = max(0.0, between - (len(counts) - 1) * within / (len(own) - len(counts)))
    return between / len(means)
