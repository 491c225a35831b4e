"""Bayesian optimisation with random forests, over all trees of the search's forest at once.

A random forest predicts the loss of a point, and how sure it is of that, from the trials so far; the next point is
the one where the expected improvement is largest. That is SMAC (Hutter et al. 2011): random forests take
conditional and categorical parameters as they come.

* Rows: a column for each leaf, with a value outside the cube where a tree has no such leaf; one for each value of
  a categorical leaf; one for each decision that tells the trees apart. So a leaf is learned from all trees that
  have it, and trees are compared by the same model (`RandomForest.promise`).
* Losses: their logarithm above a little less than the best one (section 4.1 of that paper), so that the model is
  most exact where they are small. Failed trials count as the worst.
* Forest: of extremely randomised trees (Geurts et al. 2006), whose splits lie anywhere between the points: predictions
  are smoother than with splits halfway between two of them.
* Candidates: points drawn evenly, the best trials, and what a local search finds from both. Every now and
  then the next point is drawn at random, whatever the model says.
* Pending points: taken to have the mean loss (constant liar, Ginsbourger et al. 2010). A forest forgets such lies a
  step away; so the next point is one to which two finished points are closer than any pending one.
* Cost: a forest is made of a few hundred trials at most, the best and some of the others.

References
----------
* P. Geurts, D. Ernst, L. Wehenkel, *Extremely randomized trees* (2006).
* D. Ginsbourger, R. Le Riche, L. Carraro, *Kriging is well-suited to parallelize optimization* (2010).
* F. Hutter, H. Hoos, K. Leyton-Brown, *Sequential model-based optimization for general algorithm configuration* (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Dimension, Tree, snap
from shadho.samplers.base import SamplerContext
from shadho.samplers.learning import FIRST, LearningSampler

__all__ = ['RandomForest']

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]

_TREES = 10
"""Regression trees of a model; as many as in SMAC."""

_MOST_ROWS = 600
"""Trials that a model is made of: the better half of them are the best of all, the others are drawn."""

_MOST_SPLITS = 64
"""Columns of which one is chosen for a split, drawn anew for each."""

_INACTIVE = -1.0
"""The coordinate of a leaf that a tree does not have."""

_MOST_WORDS = 32
"""Values of a categorical leaf up to which each has a column of its own."""

_BEST = 5
"""The percentile that lies as far above the best loss as the zero of the logarithm lies below it."""

_NARROWEST = 1e-3
"""The least of that distance, as a share of the one between the best loss and the median."""

_SMALLEST_VARIANCE = 1e-8
"""Of a prediction: trees may all say the same."""

_AT_RANDOM = 0.12
"""The share of suggestions that are drawn at random."""

_DRAWN = 400
"""Candidates that are drawn evenly."""

_INCUMBENTS = 6
"""The best trials of the tree from which the local search starts, and as many of other trees."""

_STARTS = 8
"""Drawn candidates from which it starts too: the best of them."""

_ROUNDS = 8
"""Steps of the local search."""

_NEIGHBOURS = 16
"""Points that are looked at in each step, from each of its starts."""

_LIKE_OWN = 0.7
"""The share of trials of other trees that are completed by coordinates of the tree's best ones; by random ones else."""

_STEPS = (0.2, 0.07, 0.02)
"""Standard deviations of the steps, of which each neighbour takes one (SMAC: 0.2)."""

_SEVERAL = 0.3
"""The share of neighbours that differ in several coordinates; others differ in one."""

_CHANGED = 0.4
"""The share of coordinates that are then changed."""

_CLOSER = 2
"""Finished trials of the same tree to which a suggestion is closer than to any pending one: so that as many pending
ones as there may be lie as far apart as the finished ones do there."""

_MOST_COMPARED = 4096
"""Candidates of all trees together when trees are compared;"""

_COMPARED = (8, 64)
"""so many of each at least and at most."""

_LEAST_PROMISE = 1e-12
"""Of a tree of which nothing new was found."""


class RandomForest(LearningSampler):
    """Bayesian optimisation with random forests, as SMAC does it: for conditional and categorical spaces.

    One forest, of extremely randomised trees by scikit-learn, learns from the trials of all trees, and says which tree
    the next trial should come from. About 30 ms for a suggestion, however many trials there are. Needs scikit-learn
    (``pip install scikit-learn``).

    Parameters
    ----------
    first : int, optional
        Suggestions before anything is modelled, in the whole forest, 10 by default; they fill each tree's cube evenly.
    """

    name = 'rf'
    aliases = ('smac',)

    def __init__(self, context: SamplerContext, *, first: int | None = None) -> None:
        super().__init__(context, first=FIRST if first is None else first)
        try:
            import sklearn.ensemble  # noqa: F401
        except ImportError as error:
            raise ConfigurationError("method='rf' needs the library scikit-learn: pip install scikit-learn") from error
        self._model: _Model | None = None
        self._modelled: tuple[object, ...] = ()

    def suggest(self, tree: Tree, rng: np.random.Generator) -> Floats | None:
        cube, model = _Cube(tree), self._current_model()
        if model is None:
            return None
        if not len(tree) or rng.random() < _AT_RANDOM:
            return cube.draw(1, rng).ravel()
        points, values = self._searched(tree, cube, model, rng)
        is_apart = cube.are_apart(points, *model.trials(tree))
        # Equal values are usual: predictions are constant in the cells of the forest.
        order = np.lexsort((rng.random(len(values)), -values))
        apart = (points[place] for place in order[is_apart[order]])
        point: Floats = next(
            (one for one in apart if self.context.visited.are_new(tree, one[None])), cube.draw(1, rng)[0]
        ).copy()
        return point

    def promise(self, trees: Sequence[Tree]) -> Floats | None:
        """Return the largest expected improvement among some candidates of each tree, compared with the best."""
        model = self._current_model()
        if model is None:
            return None
        rng = np.random.default_rng((self.seed, len(self.table)))
        count = int(np.clip(_MOST_COMPARED // len(trees), *_COMPARED))
        candidates = [self._few(tree, model, count, rng) for tree in trees]
        values = model.log_improvement(np.concatenate(candidates))
        ends = np.cumsum([len(own) for own in candidates])
        best = np.array([own.max(initial=-np.inf) for own in np.split(values, ends[:-1])])
        if not np.isfinite(best).any():
            return None
        promise: Floats = np.maximum(np.exp(best - best.max()), _LEAST_PROMISE)
        return promise

    # --- candidates ----------------------------------------------------------------------------------

    def _searched(self, tree: Tree, cube: _Cube, model: _Model, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return candidates and the logarithms of their expected improvement, after a local search."""

        def evaluated(points: Floats) -> Floats:
            return model.log_improvement(model.rows(tree, points))

        incumbents = model.incumbents(tree, cube, _INCUMBENTS, rng)
        drawn = cube.draw(_DRAWN, rng)
        points, values = [drawn], [evaluated(drawn)]
        starts = np.argsort(-values[0], kind='stable')[:_STARTS]
        heads = np.concatenate([incumbents, drawn[starts]])
        highest = np.concatenate([evaluated(incumbents), values[0][starts]])
        for _ in range(_ROUNDS):
            points.append(cube.neighbours(heads, _NEIGHBOURS, rng))
            values.append(evaluated(points[-1]))
            each = values[-1].reshape(len(heads), _NEIGHBOURS)
            best = np.argmax(each, axis=1) + np.arange(len(heads)) * _NEIGHBOURS
            is_higher = values[-1][best] > highest
            heads = np.where(is_higher[:, None], points[-1][best], heads)
            highest = np.where(is_higher, values[-1][best], highest)
        return np.concatenate(points), np.concatenate(values)

    def _few(self, tree: Tree, model: _Model, count: int, rng: np.random.Generator) -> Rows:
        """Return rows of some points of a tree that were not tried: around its incumbents, and drawn evenly."""
        cube = _Cube(tree)
        incumbents = model.incumbents(tree, cube, max(count // 16, 1), rng)
        near = cube.neighbours(incumbents, count // 2 // len(incumbents), rng) if len(incumbents) else incumbents
        points = np.concatenate([near, cube.draw(count - len(near), rng)])
        return model.rows(tree, points[self.context.visited.are_new(tree, points)])

    # --- the model -----------------------------------------------------------------------------------

    def _current_model(self) -> _Model | None:
        """Return the model of all that is known and pending, or None before there is enough."""
        points, trees = self.pending()
        known = self.table, len(self.table), tuple(trees), points.tobytes()
        if known != self._modelled:
            self._modelled, self._model = known, self._fitted(points, trees)
        return self._model

    def _fitted(self, pending: Floats, trees: Sequence[int]) -> _Model | None:
        losses = self.table.losses()
        if not self.knows_enough:
            return None
        scores = _scores(losses)
        chosen = self._chosen(scores)
        points = np.concatenate([self.table.points(chosen), pending])
        indices = [*self.table.trees()[chosen].tolist(), *trees]
        rng = np.random.default_rng((self.seed, len(losses), len(trees)))
        return _Model(self.table.dimensions, points, list(map(self.forest.tree, indices)), scores[chosen], rng)

    def _chosen(self, scores: Floats) -> npt.NDArray[np.intp]:
        """Return the rows that a model is made of."""
        if len(scores) <= _MOST_ROWS:
            return np.arange(len(scores))
        order = np.argsort(scores, kind='stable')
        best, others = np.split(order, [_MOST_ROWS // 2])
        lots = np.random.default_rng(self.seed).random(len(scores))  # the same for a row, however many there are
        drawn = others[np.argsort(lots[others])[: _MOST_ROWS - len(best)]]
        return np.sort(np.concatenate([best, drawn]))


class _Cube:
    """The points of a tree's cube: drawn evenly, or next to others; of discrete domains, the middles of cells."""

    def __init__(self, tree: Tree) -> None:
        self.sizes = tree.sizes
        self.is_word = np.array([dimension.kind == 'categorical' for dimension in tree.dimensions], dtype=bool)

    def are_apart(self, points: Floats, finished: Floats, pending: Floats) -> npt.NDArray[np.bool_]:
        """Say which points are closer to some finished ones than to any pending one."""
        if not len(pending) or len(finished) < _CLOSER:
            return np.full(len(points), True)
        nearest = np.partition(self._distances(points, finished), _CLOSER - 1, axis=1)[:, _CLOSER - 1]
        are_apart: npt.NDArray[np.bool_] = self._distances(points, pending).min(axis=1) > nearest
        return are_apart

    def _distances(self, points: Floats, others: Floats) -> Floats:
        """Return the largest difference of a coordinate; unlike words differ by 1."""
        from scipy.spatial.distance import cdist

        distances: Floats = cdist(points[:, ~self.is_word], others[:, ~self.is_word], 'chebyshev')
        for word in np.flatnonzero(self.is_word):
            distances[points[:, word, None] != others[:, word]] = 1.0
        return distances

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        return snap(rng.random((count, len(self.sizes))), self.sizes)

    def neighbours(self, points: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Return so many points around each, in the order of the points: shape (points x count, dimensions)."""
        around = np.repeat(points, count, axis=0)
        if not around.size:
            return around
        shape = around.shape
        is_changed = rng.integers(shape[1], size=(len(around), 1)) == np.arange(shape[1])
        is_changed |= (rng.random((len(around), 1)) < _SEVERAL) & (rng.random(shape) < _CHANGED)
        steps = rng.choice(_STEPS, size=(len(around), 1)) * rng.standard_normal(shape)
        cells = 1.0 / np.maximum(self.sizes, 1)
        steps = np.where(self.sizes > 0, np.copysign(np.maximum(np.abs(steps), cells), steps), steps)
        moved = np.abs(around + steps)  # reflected at both ends
        moved = np.clip(1.0 - np.abs(1.0 - moved), 0.0, 1.0)
        moved = np.where(self.is_word, rng.random(shape), moved)
        return snap(np.where(is_changed, moved, around), self.sizes)


class _Model:
    """A random forest of trials.

    Parameters
    ----------
    dimensions : sequence of Dimension
        Of the columns of `points`.
    points : array, shape (trials, columns)
    trees : sequence of Tree
        The tree of each.
    scores : array, shape (finished trials,)
        What is to be minimised, on a logarithmic scale; the trials after these are pending.
    rng : Generator
    """

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        points: Floats,
        trees: Sequence[Tree],
        scores: Floats,
        rng: np.random.Generator,
    ) -> None:
        # Only what the trials have is known, so that nothing depends on what else was asked for.
        columns = np.flatnonzero(~np.isnan(points).all(axis=0)).tolist()
        kinds = [dimensions[column] for column in columns]
        self._points = points[:, columns]
        self._places = {kind.path: place for place, kind in enumerate(kinds)}
        self._words = [
            (place, kind.size)
            for place, kind in enumerate(kinds)
            if kind.kind == 'categorical' and kind.size is not None and 2 < kind.size <= _MOST_WORDS
        ]
        by_index = {tree.index: tree for tree in trees}
        decisions = dict.fromkeys(item for tree in by_index.values() for item in tree.decisions.items())
        self._decisions = {item: place for place, item in enumerate(decisions)}
        self._indices = np.array([tree.index for tree in trees], dtype=object)
        self._order = np.argsort(scores, kind='stable')
        self._best, self._scores = scores.min(), scores
        decided = {index: self._decided(tree) for index, tree in by_index.items()}
        rows = self._encoded(self._points, np.array([decided[tree.index] for tree in trees]))
        lies = np.full(len(trees) - len(scores), scores.mean())
        self._regressors = _grown(rows, np.append(scores, lies), rng)

    def rows(self, tree: Tree, points: Floats) -> Rows:
        """Return points of a tree as `log_improvement` takes them."""
        known, places = self._known(tree)
        coordinates = np.full((len(points), self._points.shape[1]), np.nan)
        coordinates[:, places] = points[:, known]
        return self._encoded(coordinates, np.tile(self._decided(tree), (len(points), 1)))

    def incumbents(self, tree: Tree, cube: _Cube, count: int, rng: np.random.Generator) -> Floats:
        """Return the best trials of a tree, and the best of others, as far as they share its leaves."""
        is_own = self._indices[self._order] == tree.index
        own, others = self._order[is_own][:count], self._order[~is_own][:count]
        known, places = self._known(tree)
        points = cube.draw(len(own) + len(others), rng)
        if len(own):
            like = rng.integers(len(own), size=len(points))
            like[: len(own)] = np.arange(len(own))
            is_like = rng.random(len(points)) < _LIKE_OWN
            is_like[: len(own)] = True
            best = points[: len(own)].copy()
            best[:, known] = self._points[np.ix_(own, places)]
            points[is_like] = best[like[is_like]]
        shared = self._points[np.ix_(others, places)]
        rest = points[len(own) :]
        rest[:, known] = np.where(np.isnan(shared), rest[:, known], shared)
        return points

    def trials(self, tree: Tree) -> tuple[Floats, Floats]:
        """Return the points of a tree that are finished, and those that are pending."""
        known, places = self._known(tree)
        own = np.flatnonzero(self._indices == tree.index)
        points = np.full((len(own), len(tree)), np.nan)
        points[:, known] = self._points[own][:, places]
        is_finished = own < len(self._order)
        return points[is_finished], points[~is_finished]

    def log_improvement(self, rows: Rows) -> Floats:
        """Return the logarithm of the expected improvement of each row."""
        means, variances = np.empty((2, len(self._regressors), len(rows)))
        for number, regressor in enumerate(self._regressors):
            leaves = regressor.apply(rows)
            means[number], variances[number] = regressor.value[leaves, 0, 0], regressor.impurity[leaves]
        variance = variances.mean(axis=0) + means.var(axis=0)  # the law of total variance
        deviation = np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
        return _log_expected_improvement(self._best, means.mean(axis=0), deviation)

    def _known(self, tree: Tree) -> tuple[list[int], list[int]]:
        """Return which coordinates of a tree the model knows, and their columns."""
        paths = [dimension.path for dimension in tree.dimensions]
        known = [number for number, path in enumerate(paths) if path in self._places]
        return known, [self._places[paths[number]] for number in known]

    def _decided(self, tree: Tree) -> Floats:
        decided = np.zeros(len(self._decisions))
        decided[[self._decisions[item] for item in tree.decisions.items() if item in self._decisions]] = 1.0
        return decided

    def _encoded(self, coordinates: Floats, decided: Floats) -> Rows:
        parts = [np.where(np.isnan(coordinates), _INACTIVE, coordinates)]
        for place, size in self._words:
            cells = np.minimum(np.floor(coordinates[:, [place]] * size), size - 1)
            parts.append((cells == np.arange(size)).astype(float))
        rows: Rows = np.concatenate([*parts, decided], axis=1).astype(np.float32)
        return rows


def _grown(rows: Rows, scores: Floats, rng: np.random.Generator) -> list[Any]:
    """Return regression trees, each grown from a bootstrap sample until every leaf is pure."""
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(
        _TREES,
        bootstrap=True,
        max_features=min(rows.shape[1], _MOST_SPLITS),
        random_state=int(rng.integers(2**31)),
    )
    forest.fit(rows, scores)
    return [estimator.tree_ for estimator in forest.estimators_]


def _scores(losses: Floats) -> Floats:
    """Return the logarithms of losses above a zero that lies a little below the best one; 0 for the worst.

    Only the order of losses that are infinite matters: failed trials are as bad as the worst of the others.
    """
    is_finite = np.isfinite(losses)
    if not is_finite.any():
        return np.where(losses > 0, 0.0, -1.0)
    finite = losses[is_finite] / max(np.abs(losses[is_finite]).max(), 1e-300)
    least, low, middle, most = np.percentile(finite, [0, _BEST, 50, 100])
    below = (low - least) or _NARROWEST * ((middle - least) or (most - least))
    scores = np.zeros(len(losses))
    if most == least:  # nothing is known but what fails
        scores[is_finite] = -1.0
    else:
        scores[is_finite] = np.log((finite - least + below) / (most - least + below))
    scores[np.isneginf(losses)] = scores.min()
    return scores


def _log_expected_improvement(best: float, mean: Floats, deviation: Floats) -> Floats:
    """Return log E[max(exp(best) - exp(Y), 0)] for normal Y.

    With v = (best - mean) / deviation, that is the logarithm of exp(best) Phi(v) - exp(mean + deviation^2 / 2)
    Phi(v - deviation) (Hutter et al. 2009, eq. 3), of which the first term is factored out, as both may vanish.
    """
    from scipy.special import log_ndtr

    v = (best - mean) / deviation
    ratio = mean + deviation**2 / 2 - best + log_ndtr(v - deviation) - log_ndtr(v)
    improvement: Floats = best + log_ndtr(v) + np.log(-np.expm1(np.minimum(ratio, -1e-12)))
    return improvement
