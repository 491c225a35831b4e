"""What comes of a trial, as plain data: it is done with a loss, or has failed with an error."""

from __future__ import annotations

import errno
import math
import numbers
import traceback
from typing import Any

from shadho_worker.as_json import clean, jsonable, shown

__all__ = ['Outcome', 'failed', 'failure', 'is_outcome', 'outcome']

Outcome = dict[str, Any]
"""As `outcome` makes it, with ``seconds`` and, where it is captured, ``output``."""

_LONGEST_MESSAGE, _LONGEST_TRACEBACK = 2_000, 30_000
_LONGEST_CHAIN = 100  # of exceptions that led to one another, which may be a circle
_NO_MEMORY = ('out of memory', "can't allocate memory", 'bad_alloc')  # of PyTorch on a GPU, on a CPU, and of C++


def outcome(returned: Any, loss_key: str = 'loss') -> Outcome:
    """Turn what an objective returned into a plain outcome.

    Parameters
    ----------
    returned : float, int, NumPy scalar, 0-d array, or dict
        A dict holds the loss under `loss_key`; everything in it is recorded.
    loss_key : str, default 'loss'

    Returns
    -------
    dict
        ``state`` ('done' or 'failed'), ``loss`` (float, None when failed), ``results`` (made of
        JSON's types), ``error`` (dict with kind, message, traceback; None when done).

    Examples
    --------
    >>> outcome({'loss': 1, 'accuracy': 0.5})['results']
    {'loss': 1, 'accuracy': 0.5}
    >>> outcome(None)['error']['message']
    "the objective returned None: it must return a number or a dict with the key 'loss' (is a return statement missing?)"
    """
    results = {}
    value = returned
    if isinstance(returned, dict):
        results = jsonable(returned)
        if list(results) == ['$repr']:  # a note in the place of all results
            results = {'results': results, loss_key: jsonable(returned.get(loss_key))}
        if loss_key not in returned:
            keys = ', '.join(repr(key) for key in returned) or 'no keys at all'
            return _unusable(f'the objective returned a dict without {loss_key!r}; it has {keys}', results)
        value = returned[loss_key]
    loss = _number(value)
    where = f'under {loss_key!r} ' if isinstance(returned, dict) else ''
    wanted = '' if where else f' or a dict with the key {loss_key!r}'
    if loss is None:
        hint = ' (is a return statement missing?)' if value is None else ''
        if isinstance(value, numbers.Real):
            hint = ' (of those that a float can hold: up to 1.8e308)'
        return _unusable(
            f'the objective returned {shown(value)}{where and " " + where.strip()}: '
            f'it must return a number{wanted}{hint}',
            results,
        )
    if math.isnan(loss):
        return _unusable(
            f'the objective returned nan {where}'.rstrip() + ': not a number cannot be '
            'compared; return inf for a setting that is as bad as can be',
            results,
        )
    if not isinstance(returned, dict):
        results = {loss_key: jsonable(loss)}
    return {'state': 'done', 'loss': loss, 'results': results, 'error': None}


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or one that led to it, says so: Python's own, the system's, or one of PyTorch, TensorFlow, JAX or CuPy."""
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return False
        names = ' '.join(cls.__name__ for cls in type(cause).__mro__)
        if isinstance(cause, MemoryError) or 'OutOfMemory' in names or 'ResourceExhausted' in names:
            return True
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return True
        try:
            if isinstance(cause, RuntimeError) and any(phrase in str(cause).lower() for phrase in _NO_MEMORY):
                return True
        except Exception:
            return False
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


def failure(error: BaseException, skip: int = 1) -> Outcome:
    """Turn an exception of the objective into an outcome.

    Parameters
    ----------
    error : BaseException
    skip : int, default 1
        Innermost frames of SHADHO itself to leave out of the traceback's beginning.
    """
    kind = 'memory' if _is_out_of_memory(error) else 'exception'
    frames = error.__traceback__
    for _ in range(skip):
        if frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
    try:
        message = str(error)
    except BaseException as second:
        message = f'(its message cannot be shown: {type(second).__name__})'
    try:
        text = ''.join(traceback.format_exception(type(error), error, frames))
    except Exception as second:  # as of a long chain of causes
        text = f'(its traceback cannot be shown: {type(second).__name__})'
    return failed(kind, f'{type(error).__name__}: {message}', text)


def failed(kind: str, message: str, text: str = '', results: dict[str, Any] | None = None) -> Outcome:
    """Build the outcome of a trial that failed; of texts that are too long, the middle is left out."""
    error = {
        'kind': kind,
        'message': clean(_shortened(message, _LONGEST_MESSAGE)),
        'traceback': clean(_shortened(text, _LONGEST_TRACEBACK)),
    }
    return {'state': 'failed', 'loss': None, 'results': results or {}, 'error': error}


def _unusable(message: str, results: dict[str, Any]) -> Outcome:
    return failed('result', message, message, results)


def is_outcome(data: Any) -> bool:
    """Whether JSON data of unknown origin has the shape of an outcome."""
    if not isinstance(data, dict) or not {'state', 'loss', 'results', 'error'} <= set(data):
        return False
    error, loss = data['error'], data['loss']
    number = isinstance(loss, (int, float)) and not isinstance(loss, bool) and loss == loss
    if not isinstance(data.get('step', 0), int):
        return False
    if data['state'] in ('paused', 'stopped'):
        return (number or loss is None) and isinstance(data['results'], dict) and error is None
    if data['state'] == 'done':
        return number and isinstance(data['results'], dict) and error is None
    keys = {'kind', 'message', 'traceback'}
    texts = isinstance(error, dict) and set(error) == keys and all(isinstance(text, str) for text in error.values())
    return data['state'] == 'failed' and texts and isinstance(data['results'], dict) and loss is None


def _number(value: Any) -> float | None:
    """Return `value` as a float when it is one number, else None."""
    if type(value) is float:
        return value
    if isinstance(value, (str, bytes, bytearray)):
        return None
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        return None
    if getattr(value, 'shape', ()) not in ((), None) or isinstance(value, (dict, list, tuple)):
        return None
    try:
        return float(value)
    except Exception:
        return None


def _shortened(text: str, length: int) -> str:
    """Leave the middle of a text out when it is longer than that."""
    if len(text) <= length:
        return text
    half = length // 2
    return f'{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}'
