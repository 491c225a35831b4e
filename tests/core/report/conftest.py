"""Searches to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shadho import SearchResult, Shadho, spaces


@pytest.fixture
def search() -> Callable[..., SearchResult]:
    """Search a space at random and return the result: ``search(objective, space, max_tasks=20)``."""

    def run(objective: Any, space: Any, **options: Any) -> SearchResult:
        known = {
            'backend': 'inline',
            'storage': None,
            'display': False,
            'seed': 0,
            'method': 'random',
            'policy': 'fcfs',
        }
        return Shadho('search', objective, space, **{**known, **options}).run()

    return run


@pytest.fixture
def kernels() -> dict[str, Any]:
    """Return a space of two trees with numbers, an integer and categories."""
    size = spaces.log10_uniform(-3, 3)
    return {
        'exclusive': True,
        'linear': {'C': size, 'loss': ['hinge', 'squared']},
        'poly': {'C': size, 'degree': spaces.randint(2, 6), 'shift': spaces.uniform(0, 1)},
    }


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what matplotlib has opened."""
    yield
    import matplotlib.pyplot as plt

    plt.close('all')
