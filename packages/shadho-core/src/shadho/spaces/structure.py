"""Parts of a space: how domains nest, repeat, exclude and depend on one another, and what plain Python values stand for."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from shadho.errors import SpaceError, brief, nearest
from shadho.spaces.domains import Choice, Distribution, Domain, IntegerRange

__all__ = [
    'FLAGS',
    'Constant',
    'Dependent',
    'Repeat',
    'Scope',
    'Sequence',
    'as_node',
    'callback_name',
    'check_flags',
    'describe',
    'listed',
    'make_choice',
    'parts_of',
    'refusing_endless_nesting',
]

FLAGS = ('exclusive', 'optional')

_ALIKE = 0.8
"""Likeness to a flag (difflib's ratio) above which a name counts as a misspelling of it."""

_MOST_PARTS = 10**5
"""Parts of a space, each counted as often as it stands there: twice in itself, seventeen times over, is too many."""

_MOST_VALUES = 10**6
"""Of one choice; integers in a row need none of these, as a randint has them."""


class Scope:
    """Named parts of a space, all of them (the default) or one at a time (exclusive).

    Parts are read and assigned as items or attributes: ``layer.padding = ...`` is
    ``layer['padding'] = ...``. True or False under ``'exclusive'`` or ``'optional'`` sets that flag.
    """

    __slots__ = ('__weakref__', '_exclusive', '_optional', '_parts')

    _parts: dict[str, Any]
    _exclusive: bool
    _optional: bool

    def __init__(self, parts: Mapping[str, Any], *, exclusive: bool = False, optional: bool = False) -> None:
        self._parts = {}
        self._exclusive = exclusive
        self._optional = optional
        for key, value in parts.items():
            self[key] = value

    def __getitem__(self, key: str) -> Any:
        if key in self._parts:
            return self._parts[key]
        if key in FLAGS:
            return getattr(self, f'_{key}')
        raise self._missing(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise SpaceError(
                f'the key {key!r} ({type(key).__name__}) of a space is not a string. Parameters travel as JSON, '
                f'whose keys are strings; use {str(key)!r}'
            )
        if not key.isprintable() and any('\ud800' <= letter <= '\udfff' for letter in key):
            raise SpaceError(
                f'the key {key!r} of a space holds half of a character (a lone surrogate), which no file or terminal can. Was '
                'it read from bytes of another encoding?'
            )
        if key in FLAGS and isinstance(value, bool):
            object.__setattr__(self, f'_{key}', value)
            return
        part = as_node(value)
        if key in FLAGS and isinstance(part, Constant):
            raise SpaceError(f'the flag {key!r} of a scope must be True or False; got {brief(value)}')
        self._parts[key] = part

    def __delitem__(self, key: str) -> None:
        if key not in self._parts:
            raise self._missing(key)
        del self._parts[key]

    def _missing(self, key: object) -> KeyError:
        return KeyError(f'no part {key!r} in this scope; {nearest(str(key), self._parts)}')

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name in Scope.__slots__:  # copy and pickle ask before there are parts
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(*error.args) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Scope.__slots__:
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError as error:
            raise AttributeError(*error.args) from None

    def __copy__(self) -> Scope:
        return Scope(self._parts, exclusive=self._exclusive, optional=self._optional)

    def __contains__(self, key: object) -> bool:
        return key in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return describe(self)


@attrs.frozen(eq=False)
class Constant:
    """A value that does not vary."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


@attrs.frozen(eq=False, repr=False)
class Repeat:
    """A list of 1 to `length` draws of one part; with ``split=False`` always of `length` draws."""

    part: Any
    length: int
    split: bool = True

    def __repr__(self) -> str:
        return describe(self)


@attrs.frozen(eq=False, repr=False)
class Sequence:
    """A tuple of parts."""

    parts: tuple[Any, ...]

    def __getitem__(self, index: int) -> Any:
        return self.parts[index]

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        return describe(self)


@attrs.frozen(eq=False, repr=False)
class Dependent:
    """A value computed from other parts of the same setting."""

    targets: tuple[Any, ...]
    callback: Callable[..., Any] | None

    def __attrs_post_init__(self) -> None:
        if self.callback is not None and not callable(self.callback):
            raise SpaceError(f'dependent(): callback must be callable; got {brief(self.callback)}')

    def compute(self, values: tuple[Any, ...]) -> Any:
        """Apply the callback; without one, the single value itself, or the tuple of them."""
        if self.callback is not None:
            return self.callback(*values)
        return values[0] if len(values) == 1 else values

    def __repr__(self) -> str:
        return describe(self)


_NODES = (Domain, Scope, Constant, Repeat, Sequence, Dependent)


# --- what plain values stand for -----------------------------------------------------------------


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
    return parts_of(part)


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
    if isinstance(value, types.FunctionType) and value.__module__ == 'shadho.spaces.constructors':
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


def parts_of(node: Any) -> list[Any]:
    """Return the parts that a node holds."""
    if isinstance(node, Scope):
        return [node[key] for key in node]
    if isinstance(node, Sequence):
        return list(node.parts)
    return [node.part] if isinstance(node, Repeat) else []


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
        callback = '' if node.callback is None else f', callback={callback_name(node.callback)}'
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


def callback_name(callback: Any) -> str:
    """Return the name of a callback for people."""
    return getattr(callback, '__qualname__', None) or type(callback).__name__
