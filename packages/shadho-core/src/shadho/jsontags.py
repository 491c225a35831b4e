"""JSON that keeps types: tags stand for values that JSON lacks (see `shadho_worker.jsonable`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shadho_worker

__all__ = ['from_json', 'readable', 'revive', 'survives_json', 'to_json']

_encode = json.JSONEncoder(ensure_ascii=False, separators=(',', ':')).encode


_decode = json.JSONDecoder().decode


def to_json(value: Any) -> str:
    """Return any value as JSON text, with tags for values that JSON lacks."""
    return _encode(shadho_worker.jsonable(value))


def from_json(text: str) -> Any:
    """Return the value of a text from `to_json`; an object written by its repr returns as a str."""
    value = _decode(text)
    return revive(value) if '$' in text else value  # saves a walk over most of possibly millions of texts


def survives_json(value: Any) -> bool:
    """Whether a value is unchanged by `to_json` and `from_json`, types included."""
    try:
        back = from_json(to_json(value))
        return type(back) is type(value) and bool(back == value)
    except Exception:  # arrays and other objects whose comparison is not a bool
        return False


def revive(value: Any) -> Any:
    """Turn the tagged dicts of `shadho_worker.jsonable` back into their values.

    Examples
    --------
    >>> revive({'shape': {'$tuple': [2, 3]}})
    {'shape': (2, 3)}
    """
    if isinstance(value, list):
        return [revive(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, content = next(iter(value.items()))
        if tag in _REVIVE:
            return _REVIVE[tag](content)
    return {key: revive(item) for key, item in value.items()}


def readable(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return revived results, with a text for each unreadable value, so that the loss is kept."""
    try:
        return dict(revive(results))
    except Exception:  # a user's script may have written anything
        return {name: _revived_or_note(value) for name, value in results.items()}


def _revived_or_note(value: Any) -> Any:
    try:
        return revive(value)
    except Exception as error:
        return f'(cannot be read: {type(error).__name__}: {error!s:.200})'


_LONGEST_ITEM = 2**20
"""Largest trusted item size (bytes) of a stored array; NumPy measures the data of larger ones. That protects memory from
forged dtypes, at the cost of a pass over the data. Chosen."""


def _array(content: Mapping[str, Any]) -> Any:
    import numpy as np

    shape, data = content['shape'], revive(content['data'])
    array: Any
    if content['dtype'] == 'object':
        array = np.empty(len(data), object)
        for place, item in enumerate(data):  # one by one, as items may be lists
            array[place] = item
    else:
        dtype = np.dtype(content['dtype'])
        if dtype.kind not in 'biufcUSMm':
            raise ValueError(f'arrays of {dtype} are not supported')
        if dtype.itemsize > _LONGEST_ITEM:  # possibly forged in order to exhaust memory
            dtype = np.dtype(dtype.kind)
        array = np.array(data, dtype=dtype)
    if 'mask' in content:
        return np.ma.array(array.reshape(shape), mask=np.reshape(content['mask'], shape))
    return array.reshape(shape)


def _complex(content: Sequence[Any]) -> complex:
    real, imaginary = (float(revive(part)) for part in content)
    return complex(real, imaginary)


_REVIVE: Mapping[str, Callable[[Any], Any]] = {
    '$tuple': lambda content: tuple(revive(content)),
    '$float': float,
    '$array': _array,
    '$complex': _complex,
    '$bytes': bytes.fromhex,
    '$dict': lambda content: {revive(key): revive(item) for key, item in content},
    '$repr': str,
}
