"""Problems that nobody here made: bbob and bbob-mixint of COCO, by its package `coco-experiment`.

A column holds one function. All of the same suite and dimension are the same instance, which says where the
optimum lies and how the axes are turned: 1 in 5 dimensions, 2 in 10, 3 in 20. The first four fifths of the
parameters of bbob-mixint are whole numbers of 2 to 16 values. Functions keep COCO's own least loss, which is
hardly ever zero.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .problems import Problem, problem
from .spaces import Item, Params, Real, Whole

COCO: dict[str, Problem] = {}
"""By name, in the order of the tables."""

BBOB: dict[int, dict[int, float]] = {
    5: {
        1: 79.48, 3: -462.09, 6: 35.9, 8: 149.15, 10: -54.94, 13: 29.97, 15: 1000.0, 17: -16.94,
        20: -546.5, 21: 40.78, 22: -1000.0, 24: 102.61,
    },
    10: {7: 35.35, 9: 47.51, 18: 18.81, 21: -1.6},
    20: {8: 98.62, 15: -48.22},
}  # fmt: skip
"""Least losses by dimension and number of the function."""

MIXINT: dict[int, dict[int, float]] = {
    5: {1: 79.48, 3: -46.209, 8: 1.4915, 13: 2.997, 15: 100.0, 21: 40.78},
    10: {6: 0.3137, 9: 0.4751, 17: 188.1, 20: 100.0},
}
"""Least losses by dimension and number of the function."""

VALUES = (2, 4, 8, 16)
"""How many values the whole numbers of bbob-mixint have: each count for a fifth of the dimensions."""

INSTANCES = {5: 1, 10: 2, 20: 3}
"""By dimension."""


@cache
def _function(suite: str, function: int, dimension: int) -> tuple[Any, Any]:
    """Return a function of COCO after the suite, which owns it."""
    import cocoex

    instance = INSTANCES[dimension]
    own = cocoex.Suite(suite, f'instances: {instance}', f'dimensions: {dimension}')
    return own, own.get_problem_by_function_dimension_instance(function, dimension, instance)


def _make(suite: str, title: str, kind: str, space: list[Item], function: int, least: float) -> None:
    dimension = len(space)

    @problem(f'{title}{function} {dimension}d', kind, space, best=least, into=COCO)
    def loss(params: Params) -> float:
        return float(_function(suite, function, dimension)[1]([params[item.name] for item in space]))


for _dimension, _losses in BBOB.items():
    for _number, _least in _losses.items():
        _space: list[Item] = [Real(f'x{place}', -5, 5) for place in range(_dimension)]
        _make('bbob', 'f', 'bbob', _space, _number, _least)

for _dimension, _losses in MIXINT.items():
    for _number, _least in _losses.items():
        _counts = np.repeat(VALUES, _dimension // 5)
        _space = [Whole(f'x{place}', 0, int(count) - 1) for place, count in enumerate(_counts)]
        _space += [Real(f'x{place}', -5, 5) for place in range(len(_counts), _dimension)]
        _make('bbob-mixint', 'mixint', 'mixint', _space, _number, _least)
