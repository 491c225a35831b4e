"""Checks of arguments: each returns a valid value, or raises an error with argument and fix."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from shadho.errors import ConfigurationError

__all__ = [
    'as_integer',
    'as_list',
    'check_count',
    'check_direction',
    'check_flag',
    'check_loss_key',
    'check_options',
    'check_path',
    'check_plugins',
    'check_resource',
    'check_seconds',
    'check_size',
    'check_whole',
]

_SIZE = re.compile(r'(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b', re.ASCII | re.IGNORECASE)
"""A size with a unit, such as '10 GB' or '2 GiB'."""

_TYPO = 0.81
"""Least difflib similarity of a name to a resource that counts as a typo. A lower value would refuse valid features: 'core'
and 'gpu' are typos, 'score' (0.80) is not. Chosen by these names."""


def as_integer(value: Any) -> int | None:
    """Return a Python or NumPy integer as an int; None for anything else, bools included."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_list(value: Any) -> list[Any] | None:
    """Return the items of an iterable as a list; None for strings, mappings, classes and the rest."""
    if isinstance(value, (str, bytes, Mapping, type)):
        return None
    try:
        items = iter(value)  # some iterable types refuse it, such as arrays without a dimension
    except TypeError:
        return None
    return list(items)


def check_resource(where: str, name: Any, known: Iterable[str]) -> None:
    """Refuse a name that looks like a misspelt resource; any other name may be a feature.

    Raises
    ------
    ConfigurationError
        When the name is close to one of `known`, but different.
    """
    names = list(known)
    if not isinstance(name, str) or name in names:
        return
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=_TYPO)
    if close:
        raise ConfigurationError(
            f'{where}: unknown resource {name!r}; did you mean {close[0]!r}? If it is a feature of workers, give it a name '
            'that no resource resembles'
        )


def check_seconds(name: str, value: float | None) -> float | None:
    """Return a limit in seconds; None if it is None or infinite."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not value > 0:
        raise ConfigurationError(f'{name} must be a number of seconds greater than 0, or None; got {value!r}')
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return None if math.isinf(seconds) else seconds


def check_size(name: str, value: Any) -> int | None:
    """Return a number of bytes; None if there is no bound.

    Examples
    --------
    >>> check_size('folders', '1.5 GB'), check_size('folders', '2KiB'), check_size('folders', 500), check_size('folders', None)
    (1500000000, 2048, 500, None)
    """
    if value is None:
        return None
    number = as_integer(value)
    if number is not None and number >= 0:
        return number
    parts = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if parts is None:
        raise ConfigurationError(
            f"{name} must be a size, such as '10 GB', '500 MB' or '2 GiB', a number of bytes, or None for no bound; got {value!r}"
        )
    amount, prefix, binary = parts.groups()
    return int(float(amount) * (1024 if binary else 1000) ** ' kmgt'.index((prefix or ' ').lower()))


def check_grace(value: Any) -> float:
    """Return the seconds between SIGTERM and SIGKILL."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise ConfigurationError(
            f'grace must be a number of seconds, 0 or more (0 kills trials at once, without SIGTERM); got {value!r}'
        )
    return float(value)


def check_whole(name: str, value: Any, least: int, otherwise: str = '') -> int:
    """Return an integer of at least `least`; `otherwise` names alternatives in the error."""
    number = as_integer(value)
    if number is None or number < least:
        raise ConfigurationError(
            f'{name} must be an integer of {least} or more{otherwise}; got {value!r} ({type(value).__name__})'
        )
    return number


def check_count(name: str, value: int | None, least: int) -> int | None:
    """Return an integer of at least `least`, or None."""
    return None if value is None else check_whole(name, value, least, ', or None')


def check_direction(direction: str) -> str:
    """Return a valid direction."""
    if not isinstance(direction, str) or direction not in ('minimize', 'maximize'):
        raise ConfigurationError(f"direction must be 'minimize' or 'maximize'; got {direction!r}")
    return direction


def check_loss_key(loss_key: str) -> str:
    """Return a valid key of the loss."""
    if not isinstance(loss_key, str) or not loss_key:
        raise ConfigurationError(
            f"loss_key must be the key of the loss in the objective's results, such as 'loss'; got {loss_key!r}"
        )
    return loss_key


def check_flag(name: str, value: Any, *others: Any) -> Any:
    """Return True, False, or one of `others`."""
    if not isinstance(value, bool) and not any(value is other for other in others):
        known = ', '.join(['True', *map(repr, others)])
        raise ConfigurationError(f'{name} must be {known} or False; got {value!r} ({type(value).__name__})')
    return value


def check_options(argument: str, options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return options by name; an empty mapping for None."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        example = "{'scramble': False}" if argument == 'options' else "{'fairness': 1.0}"
        raise ConfigurationError(
            f'{argument} must be a dict of options by name, such as {example}; got {options!r} '
            f'({type(options).__name__})'
        )
    return options


def check_path(method: str, path: Any) -> str:
    """Return the path of a file as a str."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"{method}(): a path is needed, such as 'data.npz'; got {path!r} ({type(path).__name__})"
        )
    return name


def check_plugins(plugins: Any) -> list[Any]:
    """Return the user's plugins as a list."""
    listed = as_list(plugins)
    if listed is None:
        name = getattr(plugins, '__name__', type(plugins).__name__)
        raise ConfigurationError(
            f'plugins must be a list of modules or objects with hooks; got {plugins!r} ({name}). Put a single plugin in '
            'brackets too, as in plugins=[MyObserver()]; installed plugins need not be listed'
        )
    return listed
