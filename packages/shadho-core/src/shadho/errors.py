"""Errors of SHADHO: each says what was got, the likely cause and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    'BackendError',
    'ConfigurationError',
    'PluginError',
    'ShadhoError',
    'SpaceError',
    'StorageError',
    'nearest',
]


class ShadhoError(Exception):
    """Base of every error that SHADHO raises on purpose."""


class SpaceError(ShadhoError, ValueError):
    """A search space, a domain or a set of parameters does not make sense."""


class ConfigurationError(ShadhoError, ValueError):
    """An option of a search cannot be used as it was given."""


class StorageError(ShadhoError):
    """A storage cannot be opened, read, written, or belongs to another search."""


class BackendError(ShadhoError):
    """A backend cannot be started or has failed."""


class PluginError(ShadhoError):
    """Two plugins claim one name, or a plugin registers something unusable."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what is known and which known name is closest to `name`.

    Examples
    --------
    >>> nearest('radom', ['random', 'grid'])
    "did you mean 'random'? known: grid, random"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f'did you mean {close[0]!r}? ' if close else ''
    return f'{guess}known: {", ".join(names) or "none"}'
