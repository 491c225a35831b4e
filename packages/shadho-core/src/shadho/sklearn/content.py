"""A digest of all that an object holds: equal in every process that builds an equal object.

Texts do not serve for this: scikit-learn shortens the repr of an estimator, NumPy that of an array, and
the repr of many objects is their address. Nor do pickles, whose bytes depend on which parts are one
object, and which cannot be made of every function.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ['digest']

_PLAIN = frozenset({type(None), type(Ellipsis), bool, int, float, complex, str, bytes, range})

_DATA = (*_PLAIN, list, tuple, dict, set, frozenset, np.ndarray, np.generic)

_CODE = (type, types.FunctionType, types.BuiltinFunctionType, staticmethod, classmethod, property, functools.partial)

_NO_MATTER = ('memory', 'n_jobs', 'verbose')
"""Parameters of scikit-learn's estimators that change no score; a cache is often in a new temporary folder."""

_CLONE = getattr(BaseEstimator, '__sklearn_clone__', None)  # since scikit-learn 1.3

_GLOBAL_RANDOM_STATE = np.random.mtrand._rand

_INSTALLED = ('site-packages', 'dist-packages')


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for what an object holds.

    An estimator is known by its parameters, as `sklearn.base.clone` has it, and other objects by what a
    copy of them is made of. Functions and classes of installed libraries are known by their names, others
    by their code, with defaults, enclosed variables and the constants and functions that they name. What
    can neither be copied nor looked into, such as a lock, is known by its type.

    Examples
    --------
    >>> digest(lambda x: x + 1) == digest(lambda x: x + 1) != digest(lambda x: x + 2)
    True
    """
    return _Content().of(value)[:8].hex()


class _Content:
    """Digests objects and their parts, each object once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], tuple[Any, bytes]] = {}  # with the object, which so keeps its id
        self._around: list[int] = []
        self._is_fitted = False  # whether estimators are known by what they have learned, too

    def of(self, value: Any) -> bytes:
        if type(value) in _PLAIN:
            return _hash('plain', _text(value).encode())
        key = (id(value), self._is_fitted)
        if key not in self._known:
            if id(value) in self._around:  # it holds itself
                return _hash('around', bytes([self._around[::-1].index(id(value)) % 256]))
            self._around.append(id(value))
            self._known[key] = value, self._compound(value)
            self._around.pop()
        return self._known[key][1]

    def _all(self, kind: str, *values: Any) -> bytes:
        return _hash(kind, *map(self.of, values))

    def _unordered(self, kind: str, parts: Iterable[bytes]) -> bytes:
        return _hash(kind, *sorted(parts))

    def _compound(self, value: Any) -> bytes:
        kind = type(value)
        if kind in (list, tuple):
            return self._sequence(value)
        if kind is dict:
            return self._unordered('dict', (self.of(key) + self.of(item) for key, item in value.items()))
        if kind in (set, frozenset):
            return self._unordered('set', map(self.of, value))
        if kind in (np.ndarray, np.memmap):
            return self._array(value)
        if value is _GLOBAL_RANDOM_STATE:  # which distributions of scipy.stats hold
            return _hash('numpy.random')
        if isinstance(value, types.ModuleType):
            return _hash('module', value.__name__.encode())
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        inner = _inner(value)
        if inner is not None:
            return self._all(kind.__name__, inner)
        if hasattr(value, 'get_params') and not self._is_fitted:
            return self._estimator(value)
        return self._object(value)

    def _sequence(self, value: Any) -> bytes:
        if _PLAIN.issuperset(map(type, value)):  # mostly, and of any length
            return _hash('texts', ','.join(map(_text, value)).encode())
        return self._all('parts', *value)

    def _array(self, value: Any) -> bytes:
        shape = f'{value.dtype} {value.shape}'.encode()
        if value.dtype.hasobject or not value.nbytes:
            return _hash('array', shape, self.of(value.ravel().tolist()))
        return _hash('array', shape, np.ascontiguousarray(value).reshape(-1).view(np.uint8))

    def _estimator(self, value: Any) -> bytes:
        cls = type(value)
        if getattr(cls, '__sklearn_clone__', _CLONE) is not _CLONE:
            self._is_fitted = True  # a clone of it keeps what it has learned
            try:
                return self._object(value)
            finally:
                self._is_fitted = False
        params = value.get_params(deep=False)
        return self._all('estimator', cls, {name: params[name] for name in params if _matters(cls, name)})

    def _object(self, value: Any) -> bytes:
        try:
            reduce = copyreg.dispatch_table.get(type(value))
            parts = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception:  # it cannot be pickled, for whatever reason
            return self._all('opaque', type(value), getattr(value, '__dict__', None))
        if isinstance(parts, str):
            return _hash('global', f'{getattr(value, "__module__", "")}.{parts}'.encode())
        made_by, arguments, state, items, pairs = (*parts[:5], None, None, None)[:5]
        items = None if items is None else list(items)
        return self._all('object', made_by, arguments, state, items, None if pairs is None else dict(pairs))

    # --- code ------------------------------------------------------------------------------------

    def _class(self, cls: Any) -> bytes:
        if _is_installed(cls):
            return _hash('class', f'{cls.__module__}.{cls.__qualname__}'.encode())
        own = {
            name: value for name, value in vars(cls).items() if isinstance(value, _CODE) or _is_constant(name, value)
        }
        return self._all('class', cls.__qualname__, cls.__bases__, own)

    def _function(self, function: Any) -> bytes:
        if _is_installed(function):
            return _hash('function', f'{function.__module__}.{function.__qualname__}'.encode())
        code = function.__code__
        cells = [_content_of(cell) for cell in function.__closure__ or ()]
        return self._all(
            'code', self._code(code), function.__defaults__, function.__kwdefaults__, cells,
            {name: function.__globals__[name] for name in _names(code) if _is_used(function.__globals__.get(name))},
        )  # fmt: skip

    def _code(self, code: types.CodeType) -> bytes:
        constants = [self._code(part) if isinstance(part, types.CodeType) else self.of(part) for part in code.co_consts]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        return _hash('bytes', code.co_code, self.of(names), *constants)


def _hash(kind: str, *parts: Any) -> bytes:
    found = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        found.update(b'%d:' % len(part))
        found.update(part)
    return found.digest()


def _text(value: Any) -> str:
    """Return a text of a plain value; those of two values of different types differ."""
    return hex(value) if type(value) is int else repr(value)  # decimals of integers are limited in length


def _inner(value: Any) -> Any:
    """Return the function that a method of a class, a property or a compiled or caching function is made of."""
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    for name in ('__func__', '__wrapped__', 'py_func'):
        function = None if isinstance(value, types.MethodType) else inspect.getattr_static(value, name, None)
        if function is not None:
            return getattr(value, name)
    return None


def _matters(cls: type, name: str) -> bool:
    if name not in _NO_MATTER:
        return True
    theirs = [base for base in cls.__mro__ if base.__module__.startswith('sklearn.')]
    return not any(name in inspect.signature(base).parameters for base in theirs)


def _is_constant(name: str, value: Any) -> bool:
    return isinstance(value, _DATA) and not (name.startswith('__') and name.endswith('__'))


def _is_used(value: Any) -> bool:
    """Whether what a function names is part of what it does; other objects, such as loggers, change as they are used."""
    return value is not None and isinstance(value, (*_DATA, *_CODE))


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _is_installed(value: Any) -> bool:
    """Whether a function or a class is that of its name in an installed library."""
    module = getattr(value, '__module__', None)
    if not isinstance(module, str) or not _is_library(module):
        return False
    found: Any = sys.modules[module]
    for name in value.__qualname__.split('.'):
        found = getattr(found, name, None)
    return found is value


@functools.cache
def _is_library(module: str) -> bool:
    found = sys.modules.get(module)
    if found is None or module == '__main__':
        return False
    file = getattr(found, '__file__', None)
    if file is None:
        return getattr(getattr(found, '__spec__', None), 'origin', None) in ('built-in', 'frozen')
    folders = Path(file).parts
    return any(name in folders for name in _INSTALLED) or file.startswith(sysconfig.get_path('stdlib'))
