"""From what a user writes (dicts, lists, tuples, scalars) to nodes; text and JSON of a space."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import inspect
import itertools
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import shadho_worker
from shadho.errors import SpaceError, brief, nearest
from shadho.jsontags import revive
from shadho.spaces.domains import GRIDS, Choice, Distribution, Domain, IntegerRange
from shadho.spaces.structure import FLAGS, Constant, Dependent, Repeat, Scope, Sequence

__all__ = [
    'as_node',
    'check_flags',
    'describe',
    'difference',
    'fingerprint',
    'fingerprint_of',
    'from_json',
    'listed',
    'outline',
    'refusing_endless_nesting',
    'to_json',
]

_ALIKE = 0.8

_NODES = (Domain, Scope, Constant, Repeat, Sequence, Dependent)


_MOST_PARTS = 10**5
"""Parts of a space, each counted as often as it stands there: twice in itself, seventeen times over, is too many."""

_MOST_VALUES = 10**6
"""Of one choice; integers in a row need none of these, as a randint has them."""


@contextlib.contextmanager
def refusing_endless_nesting(space: Any = None) -> Iterator[None]:
    """Refuse a space that would be walked through without end, and explain what a RecursionError means for one."""
    try:
        if _size(space, {}) > _MOST_PARTS:
            raise SpaceError(f'the space has more than {_MOST_PARTS:,} parts: does one hold another many times over?')
        yield
    except RecursionError:
        raise SpaceError('the space is nested too deeply, or contains itself') from None


def _size(part: Any, known: dict[int, int]) -> int:
    """Count the parts of a part: each of its objects is looked at once, however often it stands there."""
    if id(part) not in known:
        known[id(part)] = 1 + sum([_size(own, known) for own in _inside(part)])
    return known[id(part)]


def _inside(part: Any) -> list[Any]:
    """Return what a part of a space holds; of plain values, those that hold others."""
    if isinstance(part, Mapping):
        return list(part.values())
    if isinstance(part, (list, tuple)):
        return [own for own in part if isinstance(own, (*_NODES, Mapping, list, tuple))]
    return _parts(part)


def as_node(value: Any) -> Any:
    """Turn what a user wrote into a node of a space.

    A dict becomes a scope (with its boolean flags ``'exclusive'`` and ``'optional'``), a list, a
    one-dimensional array or a range a choice, a tuple a sequence, a frozen scipy.stats distribution
    its domain; a domain or structure stays as it is, and all else is a constant.
    """
    if isinstance(value, _NODES):
        return value
    with refusing_endless_nesting(value):
        return _from_plain(value)


def _from_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        check_flags(value)
        return Scope(value)
    _check_called(value)
    if isinstance(value, list) or (isinstance(value, range) and not value):
        return make_choice('choice', value)
    if isinstance(value, tuple):
        return Sequence(tuple(as_node(part) for part in value))
    if isinstance(value, range):
        if value.step < 0:
            value = value[::-1]
        return IntegerRange(value.start, value.stop, value.step)
    if isinstance(value, (set, frozenset)):
        raise SpaceError(f'the set {brief(value)} has no order, so no seed could repeat its draws; use a list')
    if hasattr(value, 'dtype') and getattr(value, 'ndim', 0) == 1:
        return make_choice('choice', value)
    if callable(getattr(value, 'ppf', None)) and callable(getattr(value, 'cdf', None)):
        return Distribution(value)
    _check_text('the space', value)
    return Constant(value)


_PLAIN = (float, bool, type(None), str)


def _check_text(where: str, value: Any) -> None:
    """Refuse a value without a text: a space is recorded as text, and told to people."""
    if type(value) in _PLAIN:
        return
    try:
        repr(value)
    except RecursionError:
        raise
    except Exception as error:
        raise SpaceError(
            f'{where} holds a value ({type(value).__name__}) of which Python gives no text (repr raises '
            f'{type(error).__name__}: {error!s:.100}), so it cannot be recorded. Choose between names instead, and look the '
            'value up in the objective'
        ) from None


def check_flags(parts: Mapping[Any, Any]) -> None:
    """Refuse what looks like a flag of a scope whose name is misspelt: it would be a constant."""
    for key, value in parts.items():
        if not isinstance(value, bool) or not isinstance(key, str) or key in FLAGS:
            continue
        for flag in FLAGS:
            if difflib.SequenceMatcher(None, key, flag).ratio() > _ALIKE:
                raise SpaceError(
                    f'the scope has no flag {key!r}; did you mean {flag!r}? For a constant of this name, write '
                    f'{key!r}: [{value!r}]'
                )


def _check_called(value: Any) -> None:
    """Refuse a constructor in the place of the domain that it makes."""
    if isinstance(value, types.FunctionType) and value.__module__ == 'shadho.spaces':
        name = value.__name__
        raise SpaceError(
            f'spaces.{name} is a function that makes a part of a space; call it, as in spaces.{name}'
            f'({", ".join(inspect.signature(value).parameters)})'
        )


def make_choice(name: str, values: Any, grid: bool = False) -> Choice:
    """Build a choice of plain values, refusing what would not be sampled as the user means it."""
    if isinstance(values, (set, frozenset)):
        raise SpaceError(f'{name}(): a set has no order, so no seed could repeat its draws; use a list')
    own = listed(name, 'values', values.tolist() if getattr(values, 'ndim', 0) else values)
    if not own:
        raise SpaceError(f'{name}(): an empty list leaves nothing to choose from')
    with refusing_endless_nesting(own):
        _check_values(name, own)
    return Choice(name, own, grid)


def listed(name: str, what: str, values: Any) -> tuple[Any, ...]:
    """Return the items of a list, or of what is as good as one."""
    is_list = hasattr(values, '__iter__') and getattr(values, 'ndim', 1) > 0
    if not is_list or isinstance(values, (str, bytes, Mapping, *_NODES)):
        raise SpaceError(f'{name}(): a list of {what} is needed; got {brief(values)}')
    own = tuple(itertools.islice(values, _MOST_VALUES + 1))
    if len(own) > _MOST_VALUES:
        raise SpaceError(f'{name}(): {brief(values)} has more than {_MOST_VALUES:,} {what}, or no end')
    return own


def _check_values(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        _check_text(f'{name}()', value)
        _check_called(value)
        if _holds(_NODES, value):
            raise SpaceError(
                f'{name}(): the value {brief(value)} holds a domain, but a list is a choice of plain values. To choose '
                "between parts that vary themselves, use a dict with 'exclusive': True, or a tuple for a sequence"
            )
        if _holds((set, frozenset), value):
            raise SpaceError(
                f'{name}(): the value {brief(value)} holds a set, whose order, and so its text, changes from run to run; '
                'use a sorted list or tuple'
            )


def _holds(types: tuple[type, ...], value: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return isinstance(value, types) or (isinstance(value, (list, tuple)) and any(_holds(types, item) for item in value))


# --- text --------------------------------------------------------------------------------------


def describe(space: Any) -> str:
    """Describe a space so that a person can read it.

    Examples
    --------
    >>> print(describe({'kernel': ['rbf', 'poly'], 'C': 1.0}))
    {
        'kernel': choice(['rbf', 'poly']),
        'C': 1.0,
    }
    """
    with refusing_endless_nesting(space):
        return '\n'.join(_lines(as_node(space), {}))


def _lines(node: Any, names: dict[int, str]) -> list[str]:
    if isinstance(node, Scope):
        names.update((id(node[key]), key) for key in node)
        flags = [(f'{flag!r}: ', True) for flag in FLAGS if getattr(node, f'_{flag}')]
        return ['{', *_block([*flags, *((f'{key!r}: ', node[key]) for key in node)], names), '}']
    if isinstance(node, Sequence):
        return ['(', *_block([('', part) for part in node.parts], names), ')']
    if isinstance(node, Repeat):
        lines = _lines(node.part, names)
        lines[0] = 'repeat(' + lines[0]
        lines[-1] += f', {node.length})' if node.split else f', {node.length}, split=False)'
        return lines
    if isinstance(node, Dependent):
        targets = ', '.join(names.get(id(target), '...') for target in node.targets)
        callback = '' if node.callback is None else f', callback={_callback_name(node.callback)}'
        return [f'dependent({targets}{callback})']
    return [repr(node)]


def _block(parts: list[tuple[str, Any]], names: dict[int, str]) -> list[str]:
    """Lay out parts one below the other, each with the text that stands before it."""
    text: list[str] = []
    for before, node in parts:
        lines = _lines(node, names)
        lines[0] = before + lines[0]
        lines[-1] += ','
        text += ['    ' + line for line in lines]
    return text


def _callback_name(callback: Any) -> str:
    return getattr(callback, '__qualname__', None) or type(callback).__name__


# --- JSON --------------------------------------------------------------------------------------


def to_json(space: Any, indent: int | None = None) -> str:
    """Write a space as JSON text, which `from_json` reads.

    Raises
    ------
    SpaceError
        When the space holds what JSON cannot: a lambda or a local function as callback, a frozen
        distribution, an object that is no number, string, list, tuple or dict.
    """
    with refusing_endless_nesting(space):
        return json.dumps(_Writer(exact=True).node(as_node(space)), indent=indent)


def outline(space: Any) -> str:
    """Write the structure of any space as text; callbacks and objects by name only."""
    with refusing_endless_nesting(space):
        return json.dumps(_Writer(exact=False).node(as_node(space)), indent=1)


def fingerprint(space: Any) -> str:
    """Return a hash that is the same for two spaces of the same structure."""
    return fingerprint_of(outline(space))


def fingerprint_of(outline: str) -> str:
    """Return the fingerprint of a space from its outline."""
    return hashlib.sha256(outline.encode()).hexdigest()


def difference(recorded: str, given: str, limit: int = 40) -> str:
    """Show how two texts of spaces differ; empty when they do not."""
    lines = list(
        difflib.unified_diff(recorded.splitlines(), given.splitlines(), 'recorded', 'given now', lineterm='', n=2)
    )
    more = [f'... {len(lines) - limit} more lines'] if len(lines) > limit else []
    return '\n'.join([*lines[:limit], *more])


class _Writer:
    """Writes nodes as JSON data; a node that is a dependent's target gets a number to refer to."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.numbers: dict[int, int] = {}

    def node(self, node: Any) -> Any:
        targets = _targets(node)
        self.numbers = {key: number for number, key in enumerate(targets)}
        return self._node(node)

    def _node(self, node: Any) -> Any:
        data = self._plain(node)
        if id(node) in self.numbers:
            data = {'id': self.numbers[id(node)], **data}
        return data

    def _plain(self, node: Any) -> dict[str, Any]:
        if isinstance(node, Scope):
            flags = {flag: True for flag in FLAGS if getattr(node, f'_{flag}')}
            return {'type': 'scope', **flags, 'parts': {key: self._node(node[key]) for key in node}}
        if isinstance(node, Sequence):
            return {'type': 'sequential', 'parts': [self._node(part) for part in node.parts]}
        if isinstance(node, Repeat):
            return {'type': 'repeat', 'part': self._node(node.part), 'n': node.length, 'split': node.split}
        if isinstance(node, Dependent):
            targets = [self.numbers[id(target)] for target in node.targets]
            return {'type': 'dependent', 'of': targets, 'callback': self._callback(node.callback)}
        if isinstance(node, Constant):
            return {'type': 'constant', 'value': self._value(node.value)}
        if isinstance(node, Distribution):
            if self.exact:
                raise SpaceError(f'{node!r} cannot be written as JSON; only constructors of shadho.spaces can')
            return {'type': 'distribution', 'of': _without_address(repr(node))}
        grid = {'grid': True} if node.grid and node.name not in GRIDS else {}
        return {'type': node.name, 'args': [self._value(value) for value in node.args], **grid}

    def _callback(self, callback: Any) -> str | None:
        if callback is None:
            return None
        reference = f'{getattr(callback, "__module__", None)}:{_callback_name(callback)}'
        if self.exact and _import(reference) is not callback:
            raise SpaceError(
                f'the callback {_callback_name(callback)} cannot be written as JSON, because it cannot be '
                'imported by name; define it with def at the top level of a module'
            )
        return reference if self.exact else _callback_name(callback)

    def _value(self, value: Any) -> Any:
        data = shadho_worker.jsonable(value)
        if '{"$repr": ' in json.dumps(data):
            if self.exact:
                raise SpaceError(
                    f'the value {brief(value)} ({type(value).__name__}) cannot be written as JSON; choose between '
                    'names instead, and look the object up in the objective'
                )
            return json.loads(_without_address(json.dumps(data)))
        return data


def _without_address(text: str) -> str:
    return re.sub(r' at 0x[0-9a-fA-F]+', '', text)


def _targets(node: Any) -> dict[int, None]:
    """Collect the ids of all nodes that a dependent refers to, in order of appearance."""
    found: dict[int, None] = {}
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Dependent):
            found.update(dict.fromkeys(map(id, node.targets)))
        stack += reversed(_parts(node))
    return found


def _parts(node: Any) -> list[Any]:
    if isinstance(node, Scope):
        return [node[key] for key in node]
    if isinstance(node, Sequence):
        return list(node.parts)
    return [node.part] if isinstance(node, Repeat) else []


def _import(reference: Any) -> Any:
    """Return what `module:qualified.name` names, or None."""
    module, _, qualified = str(reference).partition(':')
    try:
        found: Any = importlib.import_module(module)
        for name in qualified.split('.'):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError):
        return None
    return found


def from_json(text: str) -> Any:
    """Read a space that `to_json` wrote. Callbacks are imported by name: read only files you trust.

    Raises
    ------
    SpaceError
        When the text is no such JSON, or names what does not exist.
    """
    return _read(text, _Reader())


def from_outline(text: str) -> Any:
    """Read what `outline` wrote: a space of the same trees, in which nothing is imported.

    Callbacks and frozen distributions, of which an outline has the names only, are left out: a
    dependent value is that of its source, a distribution uniform between 0 and 1.

    Raises
    ------
    SpaceError
        When the text is no outline.
    """
    return _read(text, _Reader(inert=True))


def _read(text: str, reader: _Reader) -> Any:
    with refusing_endless_nesting():
        try:
            data = json.loads(text)
        except (TypeError, ValueError) as error:
            raise SpaceError(f'the text of the space is not JSON: {error}') from None
        try:
            return reader.node(data)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise SpaceError(
                f'the JSON of the space is incomplete or misshapen: {type(error).__name__}: {error}'
            ) from None


class _Reader:
    def __init__(self, inert: bool = False) -> None:
        self.inert = inert
        self.known: dict[int, Any] = {}
        self.waiting: list[tuple[Dependent, list[int]]] = []

    def node(self, data: Any) -> Any:
        node = self._node(data)
        for dependent, numbers in self.waiting:  # a target may come after its dependent
            missing = [number for number in numbers if number not in self.known]
            if missing:
                raise SpaceError(f'a dependent refers to part {missing[0]}, which is not in the JSON of the space')
            object.__setattr__(dependent, 'targets', tuple(self.known[number] for number in numbers))
        return node

    def _node(self, data: Mapping[str, Any]) -> Any:
        if 'id' not in data:
            return self._plain(data)
        if data['id'] not in self.known:  # one object in several places, each written out
            self.known[data['id']] = self._plain(data)
        return self.known[data['id']]

    def _plain(self, data: Mapping[str, Any]) -> Any:
        kind = data['type']
        if kind == 'scope':
            flags = {flag: bool(data.get(flag, False)) for flag in FLAGS}
            return Scope({key: self._node(part) for key, part in data['parts'].items()}, **flags)
        if kind == 'sequential':
            return Sequence(tuple(self._node(part) for part in data['parts']))
        if kind == 'constant':
            return Constant(revive(data['value']))
        if kind == 'dependent':
            return self._dependent(data)
        from shadho import spaces

        if kind == 'repeat':
            return spaces.repeat(self._node(data['part']), data['n'], split=data['split'])
        if kind == 'distribution' and self.inert:
            return spaces.uniform(0, 1)
        if kind not in spaces.DOMAINS:
            raise SpaceError(f'unknown type {kind!r} in the JSON of a space; {nearest(str(kind), spaces.DOMAINS)}')
        domain = getattr(spaces, kind)(*revive(data['args']))
        return spaces.grid(domain) if data.get('grid') else domain

    def _dependent(self, data: Mapping[str, Any]) -> Dependent:
        named = None if self.inert else data['callback']
        callback = None if named is None else _import(named)
        if callback is None and named is not None:
            raise SpaceError(f'the callback {data["callback"]!r} of a dependent cannot be imported here')
        dependent = Dependent((), callback)
        self.waiting.append((dependent, data['of']))
        return dependent
