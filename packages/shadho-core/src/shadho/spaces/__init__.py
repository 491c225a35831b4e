"""Constructors of search spaces.

Plain Python values are part of the language: a dict is a scope, a list a choice, a tuple a
sequence, a scalar a constant.

Examples
--------
>>> from shadho import spaces
>>> C = spaces.log10_uniform(-3, 3)
>>> svm = {
...     'exclusive': True,
...     'linear': {'C': C},
...     'rbf': {'C': C, 'gamma': spaces.log10_uniform(-5, 1)},
... }
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadho.errors import nearest
from shadho.spaces.constructors import (
    choice,
    dependent,
    distribution,
    exhaustive,
    grid,
    ln_normal,
    ln_randint,
    ln_uniform,
    log2_normal,
    log2_randint,
    log2_uniform,
    log10_normal,
    log10_randint,
    log10_uniform,
    loguniform,
    normal,
    randint,
    repeat,
    scope,
    sequential,
    uniform,
)
from shadho.spaces.spec import fingerprint, from_json, to_json
from shadho.spaces.structure import describe

__all__ = [
    'choice',
    'dependent',
    'describe',
    'distribution',
    'exhaustive',
    'fingerprint',
    'from_json',
    'grid',
    'ln_normal',
    'ln_randint',
    'ln_uniform',
    'log2_normal',
    'log2_randint',
    'log2_uniform',
    'log10_normal',
    'log10_randint',
    'log10_uniform',
    'loguniform',
    'normal',
    'randint',
    'repeat',
    'scope',
    'sequential',
    'to_json',
    'uniform',
]

if not TYPE_CHECKING:  # a type checker would take every name for a known one

    def __getattr__(name: str) -> Any:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}; {nearest(name, __all__)}')
