"""JSON that keeps types: what JSON has no form for is tagged (see `shadho_worker.jsonable`), and comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shadho_worker

__all__ = ['from_json', 'readable', 'revive', 'survives_json', 'to_json']

_encode = json.JSONEncoder(ensure_ascii=False, separators=(',', ':')).encode


_decode = json.JSONDecoder().decode


def to_json(value: Any) -> str:
    """Write any value as JSON text; what JSON lacks is tagged (see `shadho_worker.jsonable`)."""
    return _encode(shadho_worker.jsonable(value))


def from_json(text: str) -> Any:
    """Read what `to_json` wrote; objects that left only their repr come back as that text."""
    value = _decode(text)
    return revive(value) if '$' in text else value  # most texts hold no tag, and there may be millions of them


def survives_json(value: Any) -> bool:
    """Whether a value comes back from JSON as it was, types included."""
    try:
        back = from_json(to_json(value))
        return type(back) is type(value) and bool(back == value)
    except Exception:  # arrays and other objects that compare in their own ways
        return False


def revive(value: Any) -> Any:
    """Turn the tagged dicts of `shadho_worker.jsonable` back into what they stood for.

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
    """Return results as `revive` does; what cannot be read leaves a note, and the loss beside it is kept."""
    try:
        return dict(revive(results))
    except Exception:  # a script may have written anything
        return {name: _revived_or_note(value) for name, value in results.items()}


def _revived_or_note(value: Any) -> Any:
    try:
        return revive(value)
    except Exception as error:
        return f'(cannot be read: {type(error).__name__}: {error!s:.200})'


_LONGEST_ITEM = 2**20
"""Bytes of an item of an array that are taken on trust; longer texts are measured."""


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
            raise ValueError(f'an array of {dtype} is never written')
        if dtype.itemsize > _LONGEST_ITEM:  # which whoever wrote it may have made up, to take all memory
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
