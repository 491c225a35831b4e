"""SHADHO: scalable, hardware-aware, distributed hyperparameter optimization.

Public names are imported when they are first used, so that ``import shadho`` costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shadho import spaces
    from shadho.errors import ShadhoError
    from shadho.forest import Forest
    from shadho.plugins.hookspecs import hookimpl
    from shadho.records import ComputeClass, Hardware, Trial, TrialState
    from shadho.report.recorded import load_result
    from shadho.result import SearchResult
    from shadho.search import Search
    from shadho.shadho import Shadho
    from shadho_worker.handle import TrialHandle

__version__ = '0.1.0'

__all__ = [
    'ComputeClass',
    'Forest',
    'Hardware',
    'Search',
    'SearchResult',
    'Shadho',
    'ShadhoError',
    'Trial',
    'TrialHandle',
    'TrialState',
    'hookimpl',
    'load_result',
    'spaces',
]

_HOMES = {
    'ComputeClass': 'shadho.records',
    'Forest': 'shadho.forest',
    'Hardware': 'shadho.records',
    'Search': 'shadho.search',
    'SearchResult': 'shadho.result',
    'Shadho': 'shadho.shadho',
    'ShadhoError': 'shadho.errors',
    'Trial': 'shadho.records',
    'TrialHandle': 'shadho_worker.handle',
    'TrialState': 'shadho.records',
    'hookimpl': 'shadho.plugins.hookspecs',
    'load_result': 'shadho.report.recorded',
}


if not TYPE_CHECKING:  # a type checker would take every name for a known one

    def __getattr__(name: str) -> Any:
        import importlib

        if name == 'spaces':
            return importlib.import_module('shadho.spaces')
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
