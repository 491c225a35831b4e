"""How much of the loss each parameter explains: functional analysis of variance, over a random forest.

Hutter, Hoos and Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter Importance* (ICML
2014): each regression tree of a random forest cuts the space into boxes of constant loss, from
which the mean over all other parameters, the marginal, follows exactly.

A hierarchical space is a mixture of cubes, one for each tree of the search. There, the variance is
that between trees, which belongs to the decisions that make them, and that within them, which
belongs to their parameters: V = Var[E(f | tree)] + E[Var(f | tree)], all trees seen counting the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Path
from shadho.forest.tree import show_path
from shadho.report.course import Course
from shadho.report.parameters import root_name
from shadho.result import SearchResult

__all__ = ['Importance', 'parameter_importance']

Floats = npt.NDArray[np.float64]

_FEWEST = 10
"""Trials from which a forest can learn something."""

_INACTIVE = -1.0
"""The value of what a tree does not have: a coordinate apart from the unit interval, a code of its own."""

_MOST_TREES = 50
"""Trees of a search that are looked at, evenly chosen; the others are alike."""

_FOREST = {'n_estimators': 64, 'max_leaf_nodes': 256, 'min_samples_leaf': 2, 'random_state': 0}
_SAMPLES = 2000
"""Trials that each regression tree learns from at most, so that ten thousand take seconds."""


@attrs.frozen(eq=False)
class Importance:
    """How much of the variance of the loss each parameter explains by itself.

    Attributes
    ----------
    names : list of str
        Parameters, and the decisions that make the trees ('tree', for one that chooses between
        whole spaces, if no parameter has that name); the most important first.
    shares : array, shape (names,)
        Of the variance, from 0 to 1.
    spread : array, shape (names,)
        Standard deviation of the shares over the trees of the random forest.
    explained : float
        How well the forest predicts the trials that it has not learned from: 1 is exactly, 0 not at
        all. Where it is low, the shares mean little.
    log : bool
        Whether it is the logarithm of the loss that was explained.
    """

    names: list[str]
    shares: Floats
    spread: Floats
    explained: float
    log: bool

    @property
    def measure(self) -> str:
        """What the shares are of, for an axis."""
        loss = 'log of the loss' if self.log else 'loss'
        return f'share of the variance of the {loss}\n(the model explains {max(0.0, self.explained):.0%} of it)'

    @property
    def rest(self) -> float:
        """The share that no parameter explains by itself, which is that of interactions."""
        return max(0.0, 1.0 - float(self.shares.sum()))


def parameter_importance(result: SearchResult | Course) -> Importance:
    """Say how much of the variance of the loss each parameter explains by itself.

    Failed trials and infinite losses are left out, losses that are worse than all others by far count as less bad,
    and losses that span decades count by their logarithm. The mean over other parameters is that over their domains,
    not over the trials, of which good methods make more where the loss is low. Needs scikit-learn (``pip install scikit-learn``).

    Parameters
    ----------
    result : SearchResult

    Raises
    ------
    ConfigurationError
        When fewer than ten trials have a finite loss, or scikit-learn is missing.
    """
    course = Course.of(result)
    rows = course.has_number
    if rows.sum() < _FEWEST:
        raise ConfigurationError(
            f'importance needs {_FEWEST} trials with a finite loss; {course.result.exp_key!r} has {rows.sum()}'
        )
    trees, first = np.unique(course.trees[rows], return_index=True)
    decisions, codes = _decisions([course.result.forest.tree(tree).decisions for tree in trees])
    inputs = np.column_stack(
        [
            np.array([own.coordinates[rows] for own in course.parameters]).reshape(-1, rows.sum()).T,
            codes[np.searchsorted(trees, course.trees[rows])],
        ]
    )
    inputs[np.isnan(inputs)] = _INACTIVE
    losses = _standardise(_cap(course.sign * course.bounded_places()[rows]))
    model = _fit(inputs, losses)
    count = len(course.parameters)
    chosen = np.unique(np.linspace(0, len(trees) - 1, min(len(trees), _MOST_TREES)).astype(int))
    settings = [_Setting.of(inputs[first[place]], count) for place in chosen]
    parts = np.array([_shares(tree.tree_, settings, codes[chosen], count) for tree in model.estimators_])
    shares = parts.mean(axis=0)
    order = np.argsort(-shares, kind='stable')
    names = [own.name for own in course.parameters] + [
        show_path(path) if path else root_name(course.result.forest) for path in decisions
    ]
    explained = float(model.oob_score_) if np.ptp(losses) > 0 else 0.0
    return Importance(
        [names[place] for place in order], shares[order], parts.std(axis=0)[order], explained, course.is_log
    )


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
    return RandomForestRegressor(**_FOREST, max_samples=samples, oob_score=True).fit(inputs, losses)


@attrs.frozen(eq=False)
class _Setting:
    """What is fixed in one tree of the search: inactive parameters and decisions; all else varies from 0 to 1."""

    values: Floats
    fixed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, row: Floats, parameters: int) -> _Setting:
        return cls(row, (row == _INACTIVE) | (np.arange(len(row)) >= parameters))


def _shares(tree: Any, settings: Sequence[_Setting], codes: Floats, parameters: int) -> Floats:
    """Return the share of every parameter and decision in the variance that one regression tree predicts."""
    lower, upper, values = _boxes(tree)
    means, variances = np.empty(len(settings)), np.empty(len(settings))
    within = np.zeros((len(settings), parameters))
    for row, setting in enumerate(settings):
        fixed = setting.values[setting.fixed]
        own = ((lower[:, setting.fixed] < fixed) & (fixed <= upper[:, setting.fixed])).all(axis=1)
        varied = np.flatnonzero(~setting.fixed)
        means[row], variances[row], within[row, varied] = _marginals(
            lower[np.ix_(own, varied)], upper[np.ix_(own, varied)], values[own]
        )
    total = means.var() + variances.mean()
    if total <= 1e-12 * max(1.0, float(np.abs(values).max()) ** 2):
        return np.zeros(parameters + codes.shape[1])
    between = [_variance_of_groups(means, column) for column in codes.T]
    shares: Floats = np.concatenate([within.mean(axis=0), between]) / total
    return shares


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


def _variance_of_groups(means: Floats, codes: Floats) -> float:
    """Return the variance of the means of trees that decided alike, among those where there was something to decide."""
    active = codes != _INACTIVE
    own = means[active]
    _, groups, counts = np.unique(codes[active], return_inverse=True, return_counts=True)
    of_groups = np.bincount(groups.ravel(), weights=own) / counts
    return float(counts @ (of_groups - own.mean()) ** 2) / len(means)
