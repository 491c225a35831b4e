"""A search of a space with options and repeats, some of whose trials fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shadho import SearchResult, Shadho, spaces

width = spaces.log2_randint(4, 8)
layer = spaces.scope(width=width, activation=['relu', 'a "quoted", text'])
layer.half = spaces.dependent(width, callback=lambda width: width // 2)
SPACE = {
    'exclusive': True,
    'linear': {'C': spaces.log10_uniform(-3, 3), 'bias': True},
    'net': {'layers': spaces.repeat(layer, 3), 'shape': [(2, 3), (4, 5)]},
}


def objective(params: Any) -> dict[str, Any]:
    if 'linear' in params:
        return {'loss': params['linear']['C'], 'accuracy': 0.5, 'kept': True, 'note': 'first line\nsecond line'}
    if len(params['net']['layers']) == 2:
        raise ValueError('two layers,\nand "no more"')
    return {'loss': 1000.0 + sum(layer['width'] for layer in params['net']['layers'])}


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., SearchResult]:
    """Run a search, or go on with it: ``search(tracker, max_tasks=20)``."""

    def run(*trackers: Any, **options: Any) -> SearchResult:
        own = {'max_tasks': 20, 'seed': 1, 'method': 'random', 'backend': 'inline', 'display': False, **options}
        own.setdefault('storage', tmp_path / 'tracked.db')
        return Shadho(
            'tracked', own.pop('objective', objective), own.pop('space', SPACE), plugins=trackers, **own
        ).run()

    return run
