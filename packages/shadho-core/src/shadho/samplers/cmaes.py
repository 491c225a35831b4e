"""CMA-ES by the cmaes library, one search in each tree.

* N. Hansen, *The CMA evolution strategy: a tutorial*, 2016.
* R. Hamano, M. Nomura, S. Saito, K. Uchida, S. Shirakawa, *CatCMA with margin: stochastic optimization for continuous,
  integer, and categorical variables*, 2025: the distribution of mixed spaces.
* R. Ros, N. Hansen, *A simple modification in CMA-ES achieving linear time and space complexity*, 2008: the one
  of many dimensions.
* A. Auger, N. Hansen, *A restart CMA evolution strategy with increasing population size*, 2005.
* M. Nomura, M. Shibata, *cmaes: a simple yet practical Python library for CMA-ES*, 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension
from shadho.samplers.base import SamplerContext, whole_number
from shadho.samplers.box import Box, BoxSampler

__all__ = ['CMAES']

Floats = npt.NDArray[np.float64]

_SPREAD = 1.0 / 6.0
"""Standard deviation of the first generation, in units of the cube, as in Hamano et al."""

_FINE = 64
"""An integer of more values is as good as continuous."""

_MANY = 200
"""With more numbers than this, their covariances are left out: drawing a point takes the cube of that many steps."""

_LATE = 3
"""A result counts as long as its point is at most so many generations old."""

_CLOSE = 1e-6
"""A generation whose points all lie closer together has nothing left to find."""

_GROWTH = 2
"""How many times as many points a generation has after a restart (Auger & Hansen, section 3)."""

_FEWEST = 4


class CMAES(BoxSampler):
    """Generations of points from a distribution that moves to the better half of each, and takes their shape.

    Numbers have a normal distribution with all covariances (variances alone in more than 200 dimensions), categories
    a table of probabilities, and no value of an integer or a category dies out. Asynchronous: a generation is
    complete when enough results are in, be they of points of up to three generations ago. Where it has converged, or
    a generation makes no difference, it starts elsewhere with twice the population. Until its first result,
    it starts from the best point that other methods or the user have tried. Below 1 ms for a point of up to 200
    dimensions.

    Parameters
    ----------
    population : int, optional
        Points of a generation; 4 + 3 ln(dimensions) when not given (Hansen, eq. 48).
    """

    name = 'cmaes'

    def __init__(self, context: SamplerContext, *, population: int | None = None) -> None:
        super().__init__(context)
        self.population = (
            None if population is None else whole_number("method='cmaes': population", population, _FEWEST)
        )

    def make(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> Box:
        return _Generations(dimensions, seed, self.population)


class _Generations(Box):
    """CMA-ES in one cube."""

    def __init__(self, dimensions: Sequence[Dimension], seed: Sequence[int], population: int | None) -> None:
        super().__init__(dimensions, seed)
        varied = {place: dimension for place, dimension in enumerate(dimensions) if dimension.size != 1}
        self._categories = [place for place in varied if varied[place].kind == 'categorical']
        self._integers = [
            place for place in varied if varied[place].kind == 'integer' and _size(varied[place]) <= _FINE
        ]
        self._continuous = [place for place in varied if place not in {*self._categories, *self._integers}]
        self._numbers = self._continuous + self._integers
        self._population = population or 4 + int(3 * math.log(max(len(varied), 1)))
        self._hint = math.inf
        self._start = 0
        self._begin(np.full(len(self._numbers), 0.5))

    def _begin(self, mean: Floats) -> None:
        self._generation = 0
        self._results: list[tuple[_Drawn, float]] = []
        self._mean = mean
        self.__dict__.pop('_distribution', None)

    @cached_property
    def _distribution(self) -> _Distribution:
        """The distribution, which begins at the mean when the first point is drawn."""
        integers = [_size(self.dimensions[place]) for place in self._integers]
        categories = [_size(self.dimensions[place]) for place in self._categories]
        return _Distribution(self._mean, integers, categories, self._population)

    def ask(
        self, number: int, rng: np.random.Generator, pending: Sequence[Mapping[str, Any]]
    ) -> tuple[Floats, dict[str, Any]]:
        drawn = self._distribution.draw(int(rng.integers(2**32)))
        position = np.full(len(self.dimensions), 0.5)
        position[self._numbers] = drawn.numbers
        for place, chosen in zip(self._categories, drawn.categories):
            position[place] = (chosen.argmax() + 0.5) / _size(self.dimensions[place])
        return position, {'start': self._start, 'generation': self._generation, 'numbers': drawn.numbers.tolist()}

    def tell(self, point: Floats, loss: float, notes: Mapping[str, Any]) -> None:
        if 'generation' not in notes:
            self._start_from(point, loss)
        elif notes['start'] == self._start and self._generation - notes['generation'] <= _LATE:
            self._results.append((self._drawn(point, notes), loss))
            if len(self._results) == self._population:
                self._end_generation()

    def _start_from(self, point: Floats, loss: float) -> None:
        """Begin at a point of others, as long as nothing is known but of others."""
        if loss < self._hint and (self._start, self._generation, len(self._results)) == (0, 0, 0):
            self._hint = loss
            self._begin(point[self._numbers])

    def _drawn(self, point: Floats, notes: Mapping[str, Any]) -> _Drawn:
        """Return what the distribution drew: its numbers may lie outside of the cube, or anywhere in their cells."""
        sizes = [_size(self.dimensions[place]) for place in self._categories]
        categories = np.zeros((len(sizes), max(sizes, default=0)), dtype=bool)
        for row, (place, size) in enumerate(zip(self._categories, sizes)):
            categories[row, min(int(point[place] * size), size - 1)] = True
        return _Drawn(categories, np.array(notes['numbers']))

    def _end_generation(self) -> None:
        results, self._results = sorted(self._results, key=lambda result: result[1]), []
        self._generation += 1
        usable = self._distribution.learn([drawn for drawn, _ in results])
        numbers = np.array([drawn.numbers for drawn, _ in results])[:, : len(self._continuous)]
        converged = bool(self._continuous) and np.ptp(numbers, axis=0).max() < _CLOSE
        if converged or not usable or results[0][1] == results[-1][1]:
            self._start += 1
            self._population *= _GROWTH
            self._begin(np.random.default_rng((*self.seed, self._start)).random(len(self._numbers)))


@dataclass(frozen=True)
class _Drawn:
    """A draw: which value of each category, shape (categories, most values of any), and numbers, shape (numbers,)."""

    categories: npt.NDArray[np.bool_]
    numbers: Floats


class _Distribution:
    """The distribution of a generation: the library's CatCMAwM, or its SepCMA for the numbers if there are many."""

    def __init__(self, mean: Floats, integers: Sequence[int], categories: Sequence[int], population: int) -> None:
        from cmaes import CatCMAwM, SepCMA

        numbers = len(mean)
        self._many = self._mixed = None
        if numbers > _MANY:
            self._many = SepCMA(mean, _SPREAD, np.array([[0.0, 1.0]] * numbers), population_size=population)
            mean, integers = mean[:0], []
        if len(mean) or categories:
            self._mixed = CatCMAwM(
                x_space=[[0.0, 1.0]] * (len(mean) - len(integers)) or None,
                z_space=[[(cell + 0.5) / size for cell in range(size)] for size in integers] or None,
                c_space=categories or None,
                population_size=population,
                mean=mean.copy(),
                cov=np.eye(len(mean)) * _SPREAD**2,
            )

    def draw(self, seed: int) -> _Drawn:
        numbers = categories = None
        if self._mixed is not None:
            self._mixed.reseed_rng(seed)
            *_, categories, numbers = astuple(self._mixed.ask())
        if self._many is not None:
            self._many.reseed_rng(seed)
            numbers = self._many.ask()
        return _Drawn(
            np.zeros((0, 0), dtype=bool) if categories is None else categories,
            np.zeros(0) if numbers is None else numbers,
        )

    def learn(self, drawn: Sequence[_Drawn]) -> bool:
        """Move towards the first of some draws, the best; return whether what comes of it can be drawn from.

        The library is told ranks: its penalty of numbers outside of the cube makes sums of losses.
        """
        ranked = [(one, float(rank)) for rank, one in enumerate(drawn)]
        try:
            with np.errstate(all='ignore'):
                if self._mixed is not None:
                    self._mixed.tell([(self._mixed.Solution(None, None, *astuple(one)), rank) for one, rank in ranked])
                if self._many is not None:
                    self._many.tell([(one.numbers, rank) for one, rank in ranked])
                return bool(np.isfinite(self.draw(0).numbers).all())
        except np.linalg.LinAlgError:
            return False


def _size(dimension: Dimension) -> int:
    """Return how many values a dimension has, 0 when it is continuous."""
    return dimension.size or 0
