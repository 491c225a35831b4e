"""Warnings filters of the driver, which hold in the processes of its trials too."""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import functools
import json
import re
import warnings
from typing import Any

__all__ = ['set_filters', 'written_filters']


def written_filters() -> bytes:
    """Return this process's filters as one line of JSON, for `set_filters` of another process.

    Those of another kind than `warnings.filterwarnings` makes are left out.
    """
    rows = [
        (action, _pattern(message), category.__module__, category.__qualname__, _pattern(module), line)
        for action, message, category, module, line in warnings.filters
        if isinstance(category, type)
    ]
    return json.dumps([row for row in rows if None not in row]).encode()


def _pattern(part: Any) -> str | None:
    """Return what a message or a module is matched with; None for what is neither a pattern nor a text."""
    if part is None:
        return ''
    if isinstance(part, str):  # as in Python's first filters, where it has to be equal
        return re.escape(part) + r'\Z'
    pattern = getattr(part, 'pattern', None)
    return pattern if isinstance(pattern, str) else None


def set_filters(written: bytes) -> None:
    """Put filters before those that this process has; they go before them again when this is repeated.

    Nothing is imported for it: classes of warnings are known by their names, unless they are Python's own.
    """
    for action, message, module, name, place, line in reversed(json.loads(written)):
        with contextlib.suppress(Exception):  # Python may be another version there, with other actions
            warnings.filterwarnings(action, message, _category(module, name), place, line)


def _category(module: str, name: str) -> type[Warning]:
    found = getattr(builtins, name, None) if module == 'builtins' else None
    return found if isinstance(found, type) and issubclass(found, Warning) else _named(module, name)


class _Named(type):
    """Of a class that stands for another one, of which only the name is known: the other's subclasses are its own."""

    def __subclasscheck__(cls, other: type) -> bool:
        return any((base.__module__, base.__qualname__) == (cls.__module__, cls.__qualname__) for base in other.__mro__)


@functools.cache  # equal filters replace each other
def _named(module: str, name: str) -> type[Warning]:
    names = {'__module__': module, '__qualname__': name}
    return _Named(name.rpartition('.')[2], (Warning,), names)  # type: ignore[return-value]


# Libraries that start processes pickle the filters, too.
copyreg.pickle(_Named, lambda cls: (_named, (cls.__module__, cls.__qualname__)))  # type: ignore[arg-type,return-value]
