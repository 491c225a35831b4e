"""A space as it is written: JSON, outline and fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

import shadho_worker
from shadho.errors import SpaceError, brief, nearest
from shadho.jsontags import revive
from shadho.spaces import constructors
from shadho.spaces.domains import GRIDS, Distribution
from shadho.spaces.structure import (
    FLAGS,
    Constant,
    Dependent,
    Repeat,
    Scope,
    Sequence,
    as_node,
    callback_name,
    parts_of,
    refusing_endless_nesting,
)

__all__ = ['difference', 'fingerprint', 'fingerprint_of', 'from_json', 'from_outline', 'outline', 'to_json']


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
        reference = f'{getattr(callback, "__module__", None)}:{callback_name(callback)}'
        if self.exact and _import(reference) is not callback:
            raise SpaceError(
                f'the callback {callback_name(callback)} cannot be written as JSON, because it cannot be '
                'imported by name; define it with def at the top level of a module'
            )
        return reference if self.exact else callback_name(callback)

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
        stack += reversed(parts_of(node))
    return found


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
        if kind == 'repeat':
            return constructors.repeat(self._node(data['part']), data['n'], split=data['split'])
        if kind == 'distribution' and self.inert:
            return constructors.uniform(0, 1)
        if kind not in constructors.DOMAINS:
            raise SpaceError(
                f'unknown type {kind!r} in the JSON of a space; {nearest(str(kind), constructors.DOMAINS)}'
            )
        domain = getattr(constructors, kind)(*revive(data['args']))
        return constructors.grid(domain) if data.get('grid') else domain

    def _dependent(self, data: Mapping[str, Any]) -> Dependent:
        named = None if self.inert else data['callback']
        callback = None if named is None else _import(named)
        if callback is None and named is not None:
            raise SpaceError(f'the callback {data["callback"]!r} of a dependent cannot be imported here')
        dependent = Dependent((), callback)
        self.waiting.append((dependent, data['of']))
        return dependent
