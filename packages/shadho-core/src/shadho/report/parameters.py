"""Parameters of a search as columns: numbers and categories, active in some trials only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError, nearest
from shadho.forest import Forest, Leaf, Path
from shadho.forest.tree import show_path
from shadho.records import Trial
from shadho.report.ticks import round_ticks
from shadho.words import shorten

__all__ = ['MOST_DECADES', 'Parameter', 'find_parameter', 'pairs', 'read_parameters', 'root_name', 'vary_together']

MOST_DECADES = 100
"""Powers of ten above or below 1 that are drawn as they are; chosen, so that squares are far from the ends of a float."""

_LABEL = 40
"""Characters of a category at most."""


@attrs.frozen(eq=False, slots=False)
class Parameter:
    """One parameter in all trials.

    Attributes
    ----------
    name : str
        Its path for people, such as 'rbf.C'.
    values : array of float, shape (trials,)
        The numbers; of categories, their places in `labels`; nan where the parameter is inactive.
    coordinates : array of float, shape (trials,)
        Quantiles in the unit interval; nan where the parameter is inactive.
    labels : tuple of str
        Categories in order; empty when the values are numbers.
    log : bool
        Whether its logarithms stand on its axis.
    """

    name: str
    values: npt.NDArray[np.float64]
    coordinates: npt.NDArray[np.float64]
    labels: tuple[str, ...] = ()
    log: bool = False

    @cached_property
    def active(self) -> npt.NDArray[np.bool_]:
        """In which trials it has a value."""
        return ~np.isnan(self.values)

    @property
    def varies(self) -> bool:
        """Whether trials differ in it."""
        known = self.values[self.active]
        return len(known) > 0 and bool(known.min() < known.max())

    @cached_property
    def _sizes(self) -> tuple[float, float]:
        """The powers of ten of the smallest and of the largest value, apart from 0."""
        known = np.abs(self.values[self.active])
        known = known[known > 0]
        return (math.log10(known.min()), math.log10(known.max())) if len(known) and not self.labels else (0.0, 0.0)

    @property
    def unit(self) -> float:
        """In which the values are drawn: 1, unless they are too large or too small for a linear axis."""
        largest = self._sizes[1]
        return 1.0 if self.log or abs(largest) <= MOST_DECADES else 10.0 ** max(math.floor(largest), -307)

    @property
    def has_log_axis(self) -> bool:
        """Whether its axis is logarithmic; of values beyond what one can show, the exponents are drawn."""
        return self.log and max(map(abs, self._sizes)) <= MOST_DECADES

    @property
    def title(self) -> str:
        """What to write beside its axis."""
        if self.log and not self.has_log_axis:
            return f'log10 of {self.name}'
        return self.name if self.unit == 1 else f'{self.name} / {self.unit:g}'

    @cached_property
    def drawn(self) -> npt.NDArray[np.float64]:
        """The values as they are drawn."""
        return np.log10(self.values) if self.log and not self.has_log_axis else self.values / self.unit

    @cached_property
    def places(self) -> npt.NDArray[np.float64]:
        """Where the values stand on the axis: logarithms, when that is logarithmic."""
        return np.log10(self.values) if self.log else self.drawn

    def values_at(self, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the values that are drawn at some places on the axis."""
        return 10.0**places if self.has_log_axis else places

    def show(self, row: int) -> str:
        """Write the value in one trial for people; nothing where it is inactive."""
        value = self.values[row]
        if np.isnan(value):
            return ''
        return self.labels[int(value)] if self.labels else f'{value:.6g}'

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return a few places on the axis and what to write there."""
        places = self.places[self.active]
        if not len(places):
            return []
        if self.labels:
            return [(float(place), label) for place, label in enumerate(self.labels)][
                :: math.ceil(len(self.labels) / (2 * most))
            ]
        known = np.unique(places)
        if len(known) > most:
            return round_ticks(float(known[0]), float(known[-1]), self.log, most, self.unit)
        return [(float(place), f'{10**place if self.log else place * self.unit:.3g}') for place in known]


def read_parameters(forest: Forest, trials: Sequence[Trial]) -> list[Parameter]:
    """Return the parameters that trials have, in the order of trees and of the leaves of each."""
    found: dict[Path, tuple[Leaf, list[Any], list[float], list[int]]] = {}
    for tree in sorted({trial.tree for trial in trials}):
        for leaf in forest.tree(tree).leaves:
            found.setdefault(leaf.path, (leaf, [], [], []))
    for row, trial in enumerate(trials):
        for leaf, coordinate in zip(forest.tree(trial.tree).leaves, trial.point):
            _, values, coordinates, rows = found[leaf.path]
            values.append(_at(trial.params, leaf.path))
            coordinates.append(coordinate)
            rows.append(row)
    return [_column(len(trials), *column) for column in found.values()]


def root_name(forest: Forest) -> str:
    """Name the decision between whole spaces: 'tree', unless a parameter has that name."""
    return show_path(()) if any(leaf.path == ('tree',) for leaf in forest.leaves) else 'tree'


def find_parameter(parameters: Sequence[Parameter], name: str) -> Parameter:
    """Return the parameter of a name.

    Raises
    ------
    ConfigurationError
        When there is none.
    """
    for own in parameters:
        if own.name == name:
            return own
    raise ConfigurationError(
        f'no trial has a parameter {name!r}; {nearest(str(name), [own.name for own in parameters])}'
    )


def pairs(parameters: Sequence[Parameter], rows: npt.NDArray[np.bool_]) -> Iterator[tuple[Parameter, Parameter]]:
    """Yield the pairs of numbers that vary together in at least five of some trials, those of the first ones first.

    They are looked at one by one, as many parameters have very many pairs.
    """
    numbers = [own for own in parameters if not own.labels and _vary(own, rows)]
    for both in range(1, 2 * len(numbers) - 2):
        for place in range(max(0, both - len(numbers) + 1), (both + 1) // 2):
            if vary_together(numbers[place], numbers[both - place], rows):
                yield numbers[place], numbers[both - place]


def vary_together(one: Parameter, other: Parameter, rows: npt.NDArray[np.bool_]) -> bool:
    """Whether two numbers vary in at least five of some trials that have both."""
    return not one.labels and not other.labels and _vary(one, rows & other.active) and _vary(other, rows & one.active)


def _vary(own: Parameter, rows: npt.NDArray[np.bool_]) -> bool:
    values = own.values[rows & own.active]
    return len(values) >= 5 and bool(values.min() < values.max())


def _at(params: Any, path: Path) -> Any:
    """Return the value at a path; None when a file has something else there."""
    try:
        for key in path:
            params = params[key]
    except (KeyError, IndexError, TypeError):
        return None
    return params


def _column(
    count: int, leaf: Leaf, values: Sequence[Any], coordinates: Sequence[float], rows: Sequence[int]
) -> Parameter:
    numbers = [_number(value) for value in values]
    column, units = np.full(count, np.nan), np.full(count, np.nan)
    size = leaf.domain.size
    at = np.array(coordinates, float)
    # All of a value's stretch stands for that value.
    units[rows] = at if size is None else (np.minimum(np.floor(at * size), size - 1) + 0.5) / size
    name = show_path(leaf.path) if leaf.path else 'value'
    if None not in numbers:
        column[rows] = numbers
        return Parameter(name, column, units, log=_is_log(leaf.domain, column[rows]))
    texts = [shorten(str(value), _LABEL) for value in values]
    known = [shorten(str(value), _LABEL) for value in getattr(leaf.domain, 'values', ())]
    labels = [label for label in dict.fromkeys([*known, *texts]) if label in set(texts)]
    places = {label: place for place, label in enumerate(labels)}
    column[rows] = [places[text] for text in texts]
    return Parameter(name, column, units, tuple(labels))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_log(domain: Any, values: npt.NDArray[np.float64]) -> bool:
    if not len(values) or values.min() <= 0:
        return False
    if getattr(domain, 'base', None) is not None:
        return True
    known = np.unique(values)
    if domain.size is None or len(known) < 3 or known[-1] / 8 < known[0]:
        return False
    steps, ratios = np.diff(known / known[-1]), np.diff(np.log(known))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())
