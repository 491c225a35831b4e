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

import cmath
import errno
import json
import math
import numbers
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ['PARAMETERS_FILE', 'RESULT_FILE', 'failure', 'jsonable', 'outcome', 'read_json', 'run', 'write_json']

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
            file.write(write_json(result))
        os.replace(RESULT_FILE + '.part', RESULT_FILE)
    elif result['state'] == 'done':
        print(json.dumps(result['results']))
    if result['state'] != 'done':
        print(result['error']['traceback'], file=sys.stderr)
        sys.exit(1)


def _arguments() -> Any:
    try:
        return read_json(sys.argv[1])
    except ValueError as error:
        sys.exit(
            f'{sys.argv[0]}: the first argument must be the parameters as JSON, such as '
            f'\'{{"x": 1.0}}\'; got {sys.argv[1]!r} ({error})'
        )


def _load(path: str) -> Any:
    try:
        with open(path, encoding='utf-8') as file:
            return read_json(file.read())
    except FileNotFoundError:
        sys.exit(
            f'{sys.argv[0]}: no {path} in {os.getcwd()}. SHADHO writes it for every trial; to try '
            f'the script by hand, give the parameters as JSON: '
            f'python {sys.argv[0]} \'{{"x": 1.0}}\''
        )


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


_NOT_FINITE = {'inf': math.inf, '-inf': -math.inf, 'nan': math.nan}


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
        return _clean(value) if limits.allow(len(value)) else _too_large()
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
            return {_clean(str(key)): _describe(item, limits) for key, item in value.items()}
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
            return _describe(plain if type(plain) is base else _shown(plain), limits)
    return {'$repr': _clean(_shown(value))}


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
        return {'$repr': _clean(_shown(value))}
    if type(plain) is not type(value):
        return _describe(plain, _Limits(math.inf, limits.around))
    number = _as_python(plain)  # of numpy.longdouble
    return {'$repr': _clean(_shown(value))} if number is plain else jsonable(number)


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
