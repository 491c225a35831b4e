"""What a distributed script imports: read the parameters, run the objective, write the result.

One file, standard library only: it is sent along with every trial of a command, so that the
machine which runs the command needs no SHADHO installed::

    def objective(params):
        return params['x'] ** 2

    if __name__ == '__main__':
        import shadho_worker
        shadho_worker.run(objective)

By hand, such a script takes its parameters as JSON: ``python objective.py '{"x": 1.5}'``, prints
the result and writes no file.
"""

from __future__ import annotations

import errno
import json
import math
import numbers
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ['PARAMETERS_FILE', 'RESULT_FILE', 'failure', 'jsonable', 'outcome', 'run']

PARAMETERS_FILE = 'hyperparameters.json'
RESULT_FILE = 'result.json'
LOSS_KEY_VARIABLE = 'SHADHO_LOSS_KEY'


def run(objective: Callable[[Any], Any]) -> None:
    """Evaluate `objective` once with the parameters of this trial and write ``result.json``.

    Parameters
    ----------
    objective : callable
        Takes the parameters (shaped like the search space; sequences arrive as lists, as in all
        JSON) and returns a loss, or a dict that holds it under ``'loss'``.

    Notes
    -----
    With a JSON object as the script's first argument, the parameters come from there and the
    result is printed; otherwise they come from ``hyperparameters.json`` in the working folder, and
    the script's arguments are its own.
    Ends the process with exit status 1 when the trial failed.
    """
    by_hand = len(sys.argv) > 1 and (sys.argv[1].lstrip().startswith('{') or not os.path.exists(PARAMETERS_FILE))
    params = _arguments() if by_hand else _load(PARAMETERS_FILE)
    loss_key = os.environ.get(LOSS_KEY_VARIABLE, 'loss')
    try:
        result = outcome(objective(params), loss_key)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        result = failure(error)
    if not by_hand:
        with open(RESULT_FILE + '.part', 'w', encoding='utf-8') as file:
            json.dump(result, file)
        os.replace(RESULT_FILE + '.part', RESULT_FILE)
    elif result['state'] == 'done':
        print(json.dumps(result['results']))
    if result['state'] != 'done':
        print(result['error']['traceback'], file=sys.stderr)
        sys.exit(1)


def _arguments() -> Any:
    try:
        return json.loads(sys.argv[1])
    except ValueError as error:
        sys.exit(
            f'{sys.argv[0]}: the first argument must be the parameters as JSON, such as '
            f'\'{{"x": 1.0}}\'; got {sys.argv[1]!r} ({error})'
        )


def _load(path: str) -> Any:
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except FileNotFoundError:
        sys.exit(
            f'{sys.argv[0]}: no {path} in {os.getcwd()}. SHADHO writes it for every trial; to try '
            f'the script by hand, give the parameters as JSON: '
            f'python {sys.argv[0]} \'{{"x": 1.0}}\''
        )


def outcome(returned: Any, loss_key: str = 'loss') -> dict[str, Any]:
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
        if loss_key not in returned:
            keys = ', '.join(repr(key) for key in returned) or 'no keys at all'
            return _unusable(f'the objective returned a dict without {loss_key!r}; it has {keys}', results)
        value = returned[loss_key]
    loss = _number(value)
    where = f'under {loss_key!r} ' if isinstance(returned, dict) else ''
    wanted = '' if where else f' or a dict with the key {loss_key!r}'
    if loss is None:
        hint = ' (is a return statement missing?)' if value is None else ''
        return _unusable(
            f'the objective returned {_shown(value)}{where and " " + where.strip()}: '
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


def failure(error: BaseException, skip: int = 1) -> dict[str, Any]:
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


def failed(kind: str, message: str, text: str = '', results: dict[str, Any] | None = None) -> dict[str, Any]:
    """Build the outcome of a trial that failed; of texts that are too long, the middle is left out."""
    error = {
        'kind': kind,
        'message': _clean(_shortened(message, _LONGEST_MESSAGE)),
        'traceback': _clean(_shortened(text, _LONGEST_TRACEBACK)),
    }
    return {'state': 'failed', 'loss': None, 'results': results or {}, 'error': error}


def _unusable(message: str, results: dict[str, Any]) -> dict[str, Any]:
    return failed('result', message, message, results)


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


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except BaseException as error:
        text = f'an object whose repr fails ({type(error).__name__})'
    if value is None:
        return 'None'
    text = text if len(text) <= 80 else text[:77] + '...'
    return f'{text} ({type(value).__name__})'


def _clean(text: str) -> str:
    """Replace what UTF-8 cannot hold, such as lone surrogates."""
    return text if text.isascii() else text.encode('utf-8', 'backslashreplace').decode('utf-8')


def _shortened(text: str, length: int) -> str:
    """Leave the middle of a text out when it is longer than that."""
    if len(text) <= length:
        return text
    half = length // 2
    return f'{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}'


_LONGEST_MESSAGE, _LONGEST_TRACEBACK = 2_000, 30_000
_LONGEST_CHAIN = 100  # of exceptions that led to one another, which may be a circle
_NO_MEMORY = ('out of memory', "can't allocate memory", 'bad_alloc')  # of PyTorch on a GPU, on a CPU, and of C++
_MAXIMUM_DEPTH = 100
_MOST_BITS = 10_000  # Python does not write longer integers
_LARGEST = 2**26
_CONTAINER, _ENTRY, _NUMBER = 256, 64, 8  # what a dict or a list counts as, an entry of it, and one of an array


class _Limits:
    """How much more of a value may be described, and what the part at hand lies in."""

    def __init__(self, left: float) -> None:
        self.left = left
        self.around: list[int] = []

    def allow(self, characters: int) -> bool:
        self.left -= characters
        return self.left >= 0


def jsonable(value: Any) -> Any:
    """Describe any value by JSON's types; what JSON lacks becomes a dict with one ``$`` key.

    Tuples, NumPy arrays (with their dtype), non-finite floats, complex numbers, bytes and dicts
    with odd keys can be told apart when they are read back; other objects leave their repr. What
    lies in itself, deeper than 100 levels, or beyond 64 Mi characters, a million entries, or four
    million numbers in arrays, leaves a note of that.

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
        return _clean(value) if limits.allow(len(value)) else _too_large()
    if not isinstance(value, (dict, list, tuple)):
        return _uncommon(value, limits)
    if id(value) in limits.around or len(limits.around) >= _MAXIMUM_DEPTH:
        return _note('nested too deeply, or in itself')
    if not limits.allow(_CONTAINER + _ENTRY * len(value)):
        return _too_large()
    limits.around.append(id(value))
    described = _container(value, limits)
    limits.around.pop()
    return described


def _container(value: Any, limits: _Limits) -> Any:
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith('$') for key in value):
            return {_clean(str(key)): _describe(item, limits) for key, item in value.items()}
        return {'$dict': [[_describe(key, limits), _describe(item, limits)] for key, item in value.items()]}
    items = [_describe(item, limits) for item in value]
    return items if isinstance(value, list) else {'$tuple': items}


def _uncommon(value: Any, limits: _Limits) -> Any:
    if hasattr(value, 'dtype') and hasattr(value, 'tolist') and hasattr(value, 'shape'):
        if not limits.allow(_NUMBER * math.prod(value.shape) + getattr(value, 'nbytes', 0)):
            return _too_large()
        plain, kind = value.tolist(), getattr(value.dtype, 'kind', None)
        if (value.shape == () and not isinstance(plain, complex)) or kind is None:  # tensors of PyTorch have no kind
            return _describe(plain, _Limits(math.inf))
        if kind in 'biufcUS':
            data = _describe(plain, _Limits(math.inf))
            return {'$array': {'dtype': str(value.dtype), 'shape': list(value.shape), 'data': data}}
    if isinstance(value, complex):
        return {'$complex': [jsonable(value.real), jsonable(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {'$bytes': bytes(value).hex()} if limits.allow(2 * len(value)) else _too_large()
    for base in (bool, int, float, str):
        if isinstance(value, base):
            plain = base(value)
            return _describe(plain if type(plain) is base else _shown(plain), limits)
    return {'$repr': _clean(_shown(value))}


def _note(text: str) -> dict[str, str]:
    return {'$repr': f'({text})'}


def _too_large() -> dict[str, str]:
    return _note('left out, as the results are too large; write them to a file')
