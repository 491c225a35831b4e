"""Any value as JSON: what JSON has no form for is tagged, or leaves a note."""

from __future__ import annotations

import cmath
import json
import math
import numbers
from typing import Any

__all__ = ['clean', 'jsonable', 'read_json', 'shown', 'write_json']

_MAXIMUM_DEPTH = 100
_MOST_BITS = 10_000  # Python does not write longer integers
_LARGEST = 2**26
_CONTAINER, _ENTRY, _NUMBER = 256, 64, 8  # what a dict or a list counts as, an entry of it, and one of an array
_NOT_FINITE = {'inf': math.inf, '-inf': -math.inf, 'nan': math.nan}


def read_json(text: str) -> Any:
    """Read JSON in which ``{"$float": "inf"}``, ``"-inf"`` and ``"nan"`` stand for the floats that JSON lacks.

    Examples
    --------
    >>> read_json('{"momentum": 0.9, "clip": {"$float": "inf"}}')
    {'momentum': 0.9, 'clip': inf}
    """
    return json.loads(text, object_hook=_as_float)


def write_json(value: Any, **options: Any) -> str:
    """Write JSON that every language reads: floats that are not finite as `read_json` reads them.

    Parameters
    ----------
    value : Any
    **options
        Of `json.dumps`.

    Raises
    ------
    TypeError, ValueError
        When a value cannot be written.

    Examples
    --------
    >>> write_json({'momentum': 0.9, 'clip': float('inf')})
    '{"momentum": 0.9, "clip": {"$float": "inf"}}'
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    """Return plain data in which floats that are not finite are written in full."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, 'tolist'):  # of NumPy, whose longest numbers give themselves
        plain = value.tolist()
        return _finite(float(plain) if type(plain) is type(value) else plain)
    return jsonable(value) if isinstance(value, float) else value


def _as_float(found: dict[str, Any]) -> Any:
    text = found.get('$float') if len(found) == 1 else None
    return _NOT_FINITE.get(text, found) if isinstance(text, str) else found


class _Limits:
    """How much more of a value may be described, and what the part at hand lies in."""

    def __init__(self, left: float, around: list[int] | None = None) -> None:
        self.left = left
        self.around: list[int] = [] if around is None else around

    def allow(self, characters: int) -> bool:
        self.left -= characters
        return self.left >= 0


def jsonable(value: Any) -> Any:
    """Describe any value by JSON's types; what JSON lacks becomes a dict with one ``$`` key.

    Tuples, NumPy arrays (with their dtype and mask), columns of pandas, non-finite floats, complex
    numbers, bytes and dicts with odd keys can be told apart when they are read back; other objects
    leave their repr. What lies in itself, deeper than 100 levels, or beyond 64 Mi characters, a
    million entries, or four million numbers in arrays, leaves a note of that, and so does what
    raises when it is looked at.

    Examples
    --------
    >>> jsonable({'shape': (2, 3), 'best': float('inf')})
    {'shape': {'$tuple': [2, 3]}, 'best': {'$float': 'inf'}}
    """
    return _describe(value, _Limits(_LARGEST))


def _describe(value: Any, limits: _Limits) -> Any:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {'$float': str(value)}
    if kind is int:
        return value if value.bit_length() <= _MOST_BITS else _note(f'an integer of {value.bit_length()} bits')
    if kind is bool or value is None:
        return value
    if kind is str:
        return clean(value) if limits.allow(len(value)) else _too_large()
    around = len(limits.around)
    try:
        return _describe_object(value, limits)
    except Exception as error:  # of any object's own methods: what lies beside it is kept
        del limits.around[around:]
        return _note(f'{kind.__name__}: it cannot be written, because of {type(error).__name__}')


def _describe_object(value: Any, limits: _Limits) -> Any:
    if id(value) in limits.around or len(limits.around) >= _MAXIMUM_DEPTH:
        return _note('nested too deeply, or in itself')
    is_container = isinstance(value, (dict, list, tuple))
    if is_container and not limits.allow(_CONTAINER + _ENTRY * len(value)):
        return _too_large()
    limits.around.append(id(value))
    described = _container(value, limits) if is_container else _uncommon(value, limits)
    limits.around.pop()
    return described


def _container(value: Any, limits: _Limits) -> Any:
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith('$') for key in value):
            return {clean(str(key)): _describe(item, limits) for key, item in value.items()}
        return {'$dict': [[_describe(key, limits), _describe(item, limits)] for key, item in value.items()]}
    items = [_describe(item, limits) for item in value]
    return items if isinstance(value, list) else {'$tuple': items}


def _uncommon(value: Any, limits: _Limits) -> Any:
    if hasattr(value, 'dtype') and hasattr(value, 'tolist') and hasattr(value, 'shape'):
        return _array(value, limits)
    if isinstance(value, complex):
        return {'$complex': [jsonable(value.real), jsonable(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {'$bytes': bytes(value).hex()} if limits.allow(2 * len(value)) else _too_large()
    for base in (bool, int, float, str):
        if isinstance(value, base):
            plain = base(value)
            return _describe(plain if type(plain) is base else shown(plain), limits)
    return {'$repr': clean(shown(value))}


def _array(value: Any, limits: _Limits) -> Any:
    """Describe an array of any library, or a number that is an array without dimensions."""
    if not limits.allow(int(_NUMBER * math.prod(value.shape) + getattr(value, 'nbytes', 0))):
        return _too_large()
    dtype, kind = value.dtype, getattr(value.dtype, 'kind', None)
    if value.shape == ():
        return _scalar(value, kind, limits)
    if kind is None:  # tensors of PyTorch have none
        return _describe(value.tolist(), _Limits(math.inf, limits.around))
    is_plain = type(dtype).__module__.partition('.')[0] == 'numpy' and dtype.itemsize <= _WIDEST.get(kind, math.inf)
    if not is_plain or kind not in 'biufcUSMm':
        return _column(value, kind, limits)
    has_mask = hasattr(value, 'mask') and hasattr(value, 'filled')
    plain = value.filled(dtype.type()) if has_mask else value
    data = (plain.astype('int64') if kind in 'Mm' else plain).tolist()
    described = {'dtype': str(dtype), 'shape': list(value.shape), 'data': _describe(data, _Limits(math.inf))}
    if has_mask and value.mask.any():
        described['mask'] = value.mask.tolist()
    return {'$array': described}


def _scalar(value: Any, kind: str | None, limits: _Limits) -> Any:
    plain = value.tolist()
    if kind in ('M', 'm'):
        return {'$repr': clean(shown(value))}
    if type(plain) is not type(value):
        return _describe(plain, _Limits(math.inf, limits.around))
    number = _as_python(plain)  # of numpy.longdouble
    return {'$repr': clean(shown(value))} if number is plain else jsonable(number)


def _column(value: Any, kind: str, limits: _Limits) -> Any:
    """Describe an array whose items are objects, or which says in its own way that some are missing (pandas)."""
    items = [_as_python(item) for item in _leaves(value.tolist(), len(value.shape))]
    if not limits.allow(_ENTRY * len(items)):
        return _too_large()
    described = {'dtype': 'object', 'shape': list(value.shape)}
    missing = [not isinstance(item, numbers.Number) for item in items]
    if kind in _PLAIN and all(none or type(item) in _NUMBERS for item, none in zip(items, missing)):
        described['dtype'] = _PLAIN[kind]
        items = [0 if none else item for item, none in zip(items, missing)]
        if any(missing):
            described['mask'] = missing
    return {'$array': {**described, 'data': [_describe(item, limits) for item in items]}}


def _leaves(nested: Any, levels: int) -> list[Any]:
    """Return the items of an array from its nested lists, in one list; items may be lists themselves."""
    return [leaf for part in nested for leaf in _leaves(part, levels - 1)] if levels > 1 else list(nested)


def _as_python(number: Any) -> Any:
    """Return a number that is longer than Python's as one of these, unless that would make it 0 or infinite."""
    if type(number) in _NUMBERS or not hasattr(number, 'dtype') or not isinstance(number, numbers.Complex):
        return number
    plain = float(number) if isinstance(number, numbers.Real) else complex(number)
    return number if plain != number and (plain == 0 or cmath.isinf(plain)) else plain


_NUMBERS = (bool, int, float, complex)
_PLAIN = {'b': 'bool', 'i': 'int64', 'u': 'uint64', 'f': 'float64', 'c': 'complex128'}
_WIDEST = {'f': 8, 'c': 16}  # bytes that Python's own floats and complex numbers hold


def _note(text: str) -> dict[str, str]:
    return {'$repr': f'({text})'}


def _too_large() -> dict[str, str]:
    return _note('left out, as the results are too large; write them to a file')


def shown(value: Any) -> str:
    """Return the repr of a value, shortened, and its type."""
    try:
        text = repr(value)
    except BaseException as error:
        text = f'an object whose repr fails ({type(error).__name__})'
    if value is None:
        return 'None'
    text = text if len(text) <= 80 else text[:77] + '...'
    return f'{text} ({type(value).__name__})'


def clean(text: str) -> str:
    """Replace what UTF-8 cannot hold, such as lone surrogates."""
    return text if text.isascii() else text.encode('utf-8', 'backslashreplace').decode('utf-8')
