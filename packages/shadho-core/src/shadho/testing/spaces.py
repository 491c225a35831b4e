"""Search spaces of every kind, on which the suites try what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shadho import spaces
from shadho.forest import Forest, Tree

__all__ = ['SPACES', 'some_trees']

_x = spaces.uniform(0.0, 1.0)

SPACES: Mapping[str, Any] = {
    'one number': {'x': _x},
    'one value': {'only': ['this']},
    'every domain': {
        'rate': spaces.log10_uniform(-5, -1),
        'shift': spaces.normal(0.0, 1.0),
        'units': spaces.randint(1, 1000),
        'batch': spaces.log2_randint(4, 10),
        'activation': ['relu', 'tanh', 'elu'],
        'constant': 3,
    },
    'a tree without dimensions': {'extra': {'optional': True, 'x': _x}},
    'unequal trees': {
        'exclusive': True,
        'linear': {'C': spaces.log10_uniform(-5, 5)},
        'rbf': {'C': spaces.log10_uniform(-5, 5), 'gamma': spaces.log10_uniform(-5, 5)},
        'poly': {'C': spaces.log10_uniform(-5, 5), 'degree': [2, 3, 4, 5]},
    },
    'layers': {'layers': spaces.repeat({'width': spaces.randint(8, 65), 'norm': [True, False]}, 5)},
    'grid and number': {'a': spaces.grid([1, 2, 3]), 'x': _x},
    'grid only': {'a': spaces.grid([1, 2, 3]), 'b': spaces.grid(['u', 'v'])},
    'more than 2^64 trees': {f'part{i}': {'optional': True, 'x': _x} for i in range(70)},
}
"""Spaces by name: from one value to more trees than 64 bits can count."""


def some_trees(forest: Forest) -> list[Tree]:
    """Return the first, the last and a middle tree of a forest, in this order."""
    return [forest.tree(index) for index in sorted({0, forest.count // 2, forest.count - 1})]
