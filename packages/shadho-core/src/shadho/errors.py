"""Errors of SHADHO: each says what was got, the likely cause and the fix."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

__all__ = [
    'BackendError',
    'ConfigurationError',
    'LedgerError',
    'PluginError',
    'ShadhoError',
    'SpaceError',
    'StorageError',
    'brief',
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


class LedgerError(ShadhoError):
    """A record contradicts what is known of its trial."""


class PluginError(ShadhoError):
    """Two plugins claim one name, or a plugin registers something unusable."""


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 200


def brief(value: Any) -> str:
    """Return the repr of a value, or the beginning of it: one whose parts hold each other many times over has no end.

    Examples
    --------
    >>> brief({'layers': list(range(100))})
    "{'layers': [0, 1, 2, 3, 4, 5, ...]}"
    """
    return _BRIEF.repr(value)


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
