"""Effects of parameters on the seconds of a trial, in all compute classes and in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Forest
from shadho.records import Trial
from shadho.table import LeafColumns

__all__ = ['Effects']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_LINEAR, _SQUARE, _VALUE = 1.0, 0.3, 0.5
"""Prior standard deviations of the effects on log seconds of a number, of its square, and of a value of a choice. Of some,
the best on recorded tables (``benchmarks/placement.py``)."""

_OWN = (0.0, 0.25, 1.0)
"""Prior standard deviations of what the effects in a class add to those in all, as multiples of the above. The one that has
predicted best counts: affinity needs a large one, and where there is none it would only follow noise."""

_NOISE = 0.1
"""Prior variance of log seconds that no parameter explains, worth three trials. Chosen."""

_MOST_VALUES = 16
"""Values of a choice up to which each has an effect of its own."""

_MOST_FEATURES = 200
"""Features of all leaves together; leaves that come later have none. The cost of a trial grows with the square. Chosen."""

_BETTER = 0.8
"""Ratio of squared errors with the effects and without, below which they count. Chosen."""

_LEAST = 6
"""Predicted trials before the effects may count."""

_AS_GOOD = 1.05
"""Ratio of squared errors up to which less of a class's own is as good. With 1.2, effects of a class on its own are found too late
(``benchmarks/placement.py``: 0.91 of the bound in place of 0.96)."""

_FORGOTTEN = 0.97
"""Weight of an earlier error beside the next one: the first predictions are the worst."""

_GROWTH = 1.1
"""Growth of the number of trials at which the effects are solved for anew."""

_ROUNDS = 10
"""Rounds of backfitting."""


@attrs.define(eq=False)
class _Pair:
    """Means of the trials of a tree in a class."""

    count: int
    log_seconds: float
    features: Floats


class _Class:
    """Sums over the trials of a class, each less the means of its pair."""

    def __init__(self) -> None:
        self.squares = np.zeros((0, 0))
        self.products = np.zeros(0)

    def grow(self, size: int) -> None:
        """Make room for so many features."""
        old = len(self.products)
        if size > old:
            self.squares = np.pad(self.squares, (0, size - old))
            self.products = np.pad(self.products, (0, size - old))


class Effects:
    """What the parameters of a setting add to the log seconds of its tree in a class.

    Log seconds are modelled as those of tree and class, plus ``(beta + gamma[class]) @ features``. The features of a numeric leaf
    are its coordinate and its square; those of a choice, its values. A leaf has the same effects in all trees that have its path.
    All effects are shrunk to 0, and count only once they have predicted trials better than the mean of tree and class.

    Parameters
    ----------
    forest : Forest
    is_asked : bool, default False
        Whether a single class is of interest, too. Otherwise nothing depends on its effects, and they are not learned.

    Attributes
    ----------
    selected : set of int
        Trees whose settings were chosen for the classes that ran them.

    Notes
    -----
    Ridge regression within the pairs of tree and class, by sums that a trial updates in O(features of its tree squared), however
    many trials there were: M. Wooldridge, *Econometric analysis of cross section and panel data* (2010), chapter 10.
    """

    def __init__(self, forest: Forest, is_asked: bool = False) -> None:
        self.is_asked = is_asked
        self._leaves = LeafColumns(forest)
        self._first: list[int] = []  # of each column: its first feature, or -1
        self._size = 0
        self._places: dict[int, tuple[Integers, Integers, Integers]] = {}
        self.selected: set[int] = set()
        self._pairs: dict[int, dict[str, _Pair]] = {}
        self._classes: dict[str, _Class] = {}
        self._scales: list[float] = []  # prior standard deviations of the features
        self._common: list[Floats] = []  # effects in a class without trials, by prior of what is a class's own
        self._solutions: list[dict[str, Floats]] = []  # effects by class, likewise
        self._chosen = 0
        self._count = 0
        self._solve_at = _LEAST
        self._predicted = 0.0
        self._errors = np.zeros(1 + len(_OWN))  # squared: without effects, and of each solution

    @property
    def are_known(self) -> bool:
        """Whether the effects predict better than the means of trees and classes."""
        return self._count >= 2 * _LEAST and self._errors[1 + self._chosen] < _BETTER * self._errors[0]

    def tell(self, trial: Trial, log_seconds: float) -> None:
        """Learn from a finished trial."""
        places = self._features_of(trial.tree)[2]
        features = self.features(trial.tree, [trial.point])[0]
        pairs = self._pairs.setdefault(trial.tree, {})
        pair = pairs.get(trial.compute_class)
        if pair is None:
            pairs[trial.compute_class] = _Pair(1, log_seconds, features)
            self._classes.setdefault(trial.compute_class, _Class())
            return
        off, late = features - pair.features, log_seconds - pair.log_seconds
        share = pair.count / (pair.count + 1)
        if self._solutions:
            expected = [0.0, *(off @ self._taken(number, trial.compute_class, places) for number in range(len(_OWN)))]
            self._errors = _FORGOTTEN * self._errors + share * (late - np.array(expected)) ** 2
            self._predicted = _FORGOTTEN * self._predicted + 1
        sums = self._classes[trial.compute_class]
        sums.grow(self._size)
        sums.squares[np.ix_(places, places)] += share * np.outer(off, off)
        sums.products[places] += share * late * off
        pair.count += 1
        pair.features = pair.features + off / pair.count
        pair.log_seconds += late / pair.count
        self._count += 1
        if self._count >= self._solve_at:
            self._solve_at = max(self._count + 1, int(_GROWTH * self._count))
            self._solve()

    def _solve(self) -> None:
        """Solve for the effects, with each prior of what is a class's own."""
        classes = {name: sums for name, sums in self._classes.items() if sums.products.any()}
        for sums in classes.values():
            sums.grow(self._size)
        errors = self._errors[1:]
        self._chosen = int(np.argmax(errors <= _AS_GOOD * errors.min()))
        noise = (self._errors[1 + self._chosen] + 3 * _NOISE) / (self._predicted + 3)
        scale = np.array(self._scales)  # of the features: sums in these units have equal priors
        scaled = {
            name: (scale[:, None] * sums.squares * scale, scale * sums.products) for name, sums in classes.items()
        }
        solved = [_solved(scaled, noise, own, len(scale)) for own in _OWN]
        self._common = [scale * common for common, _ in solved]
        self._solutions = [{name: scale * effects for name, effects in each.items()} for _, each in solved]

    def weights(self, tree: int, classes: Sequence[str]) -> Floats:
        """Return the effects of a tree's features: shape (features, classes)."""
        places = self._features_of(tree)[2]
        return np.column_stack([self._taken(self._chosen, name, places) for name in classes])

    def _taken(self, number: int, compute_class: str, places: Integers) -> Floats:
        """Return the effects of some features in a class, by one of the solutions; 0 for features that are new."""
        taken = np.zeros(len(places))
        if self._solutions:
            effects = self._solutions[number].get(compute_class, self._common[number])
            known = places < len(effects)
            taken[known] = effects[places[known]]
        return taken

    def centre(self, tree: int, classes: Sequence[str]) -> Floats | None:
        """Return the mean features of a tree's trials in some classes: shape (features,); None without any."""
        known = self._pairs.get(tree, {})
        pairs = [known[name] for name in classes if name in known]
        if not pairs:
            return None
        mean: Floats = np.average([pair.features for pair in pairs], axis=0, weights=[pair.count for pair in pairs])
        return mean

    def shifts(self, classes: Sequence[str]) -> Iterator[tuple[int, str, float]]:
        """Yield by how much the trials of selected trees in classes were longer, in log seconds, than the tree's mean trial.

        A class that was given a tree's small settings is not as fast as it looks.
        """
        for tree in self.selected:
            centre = self.centre(tree, classes)
            weights = self.weights(tree, classes)
            for column, name in enumerate(classes):
                pair = self._pairs[tree].get(name)
                if pair is not None and centre is not None:
                    yield tree, name, float((pair.features - centre) @ weights[:, column])

    # --- features ----------------------------------------------------------------------------------

    def places(self, tree: int) -> list[tuple[int, float]]:
        """Return the place of each feature of a tree among those of all leaves, and its prior standard deviation."""
        return [(place, self._scales[place]) for place in self._features_of(tree)[2].tolist()]

    def features(self, tree: int, points: Sequence[Any] | Floats) -> Floats:
        """Return the features of points of a tree: shape (points, features).

        Parameters
        ----------
        tree : int
        points : sequence of arrays or tuples, or an array, shape (points, dimensions)
        """
        numeric, choices, _ = self._features_of(tree)
        points = np.asarray(points, dtype=float).reshape(len(points), -1)
        numbers = 2 * points[:, numeric] - 1
        blocks = [numbers, numbers**2 - 1 / 3]
        dimensions = [self._leaves.dimensions[column] for column in self._leaves.columns_of(tree)[choices]]
        for place, dimension in zip(choices, dimensions):
            size = dimension.size or 1
            cells = np.minimum((points[:, place] * size).astype(np.intp), size - 1)
            blocks.append(np.eye(size)[cells] - 1 / size)
        return np.hstack(blocks)

    def _features_of(self, tree: int) -> tuple[Integers, Integers, Integers]:
        """Return which coordinates of a tree are numbers and which are choices, and the places of their features."""
        known = self._places.get(tree)
        if known is None:
            columns = self._leaves.columns_of(tree)
            for column in range(len(self._first), len(self._leaves.dimensions)):
                width = self._width(column)
                has_room = width > 0 and self._size + width <= _MOST_FEATURES
                self._first.append(self._size if has_room else -1)
                if has_room:
                    self._size += width
                    is_choice = self._leaves.dimensions[column].kind == 'categorical'
                    self._scales += [_VALUE] * width if is_choice else [_LINEAR, _SQUARE]
            used = [place for place, column in enumerate(columns) if self._first[column] >= 0]
            kinds = [self._leaves.dimensions[columns[place]].kind for place in used]
            choices = np.array([place for place, kind in zip(used, kinds) if kind == 'categorical'], dtype=np.intp)
            numeric = np.array([place for place, kind in zip(used, kinds) if kind != 'categorical'], dtype=np.intp)
            first = np.array([self._first[column] for column in columns[numeric]], dtype=np.intp)
            rest = [self._first[column] + np.arange(self._width(column)) for column in columns[choices]]
            known = self._places[tree] = numeric, choices, np.concatenate([first, first + 1, *rest]).astype(np.intp)
        return known

    def _width(self, column: int) -> int:
        """Return the number of features of a column."""
        dimension = self._leaves.dimensions[column]
        if dimension.size == 1:
            return 0
        if dimension.kind != 'categorical':
            return 2
        return dimension.size if dimension.size is not None and dimension.size <= _MOST_VALUES else 0


def _solved(
    sums: Mapping[str, tuple[Floats, Floats]], noise: float, own: float, size: int
) -> tuple[Floats, dict[str, Floats]]:
    """Return effects that all classes have in common, and those in each: with what is its own; by ridge regression.

    Parameters
    ----------
    sums : mapping of str to (array, array)
        Of each class: squares, shape (features, features), and products with log seconds, shape (features,).
    noise : float
        Variance.
    own : float
        Prior standard deviation of a class's own effects, as a multiple of that of the common ones.
    size : int
        Number of features.
    """
    inverse = np.linalg.inv(sum((squares for squares, _ in sums.values()), np.eye(size) * noise))
    ridge = np.eye(size) * (noise / own**2) if own else np.zeros(0)
    inverses = {name: np.linalg.inv(squares + ridge) for name, (squares, _) in sums.items()} if own else {}
    added = {name: np.zeros(size) for name in sums}
    common = np.zeros(size)
    for _ in range(_ROUNDS if own else 1):
        left = (products - squares @ added[name] for name, (squares, products) in sums.items())
        common = inverse @ sum(left, np.zeros(size))
        for name, each in inverses.items():
            added[name] = each @ (sums[name][1] - sums[name][0] @ common)
    return common, {name: common + added[name] for name in sums}
