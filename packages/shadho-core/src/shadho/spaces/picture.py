"""A space as a picture of text: what is nested in what, and what excludes what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shadho.spaces.structure import Dependent, Repeat, Scope, Sequence, as_node, describe, refusing_endless_nesting

__all__ = ['picture']


def picture(space: Any) -> str:
    """Draw a space with a line for each of its parts.

    Examples
    --------
    >>> from shadho import spaces
    >>> C = spaces.log10_uniform(-3, 3)
    >>> print(picture({'exclusive': True, 'linear': {'C': C}, 'rbf': {'C': C, 'gamma': [0.1, 1.0]}}))
    one of 2
    ├─ linear
    │  └─ C: log10_uniform(-3.0, 3.0)
    └─ rbf
       ├─ C: log10_uniform(-3.0, 3.0)
       └─ gamma: choice([0.1, 1.0])
    """
    with refusing_endless_nesting(space):
        return '\n'.join(_lines('', as_node(space)))


def _lines(name: str, node: Any) -> Iterator[str]:
    said = _said(node)
    yield ': '.join(text for text in (name, said) if text) or 'all of'
    inside = list(_inside(node))
    for number, (own, part) in enumerate(inside):
        is_last = number == len(inside) - 1
        first, *rest = _lines(own, part)
        yield ('└─ ' if is_last else '├─ ') + first
        yield from (('   ' if is_last else '│  ') + line for line in rest)


def _said(node: Any) -> str:
    """Return what is said of a part beside its name."""
    if isinstance(node, Scope):
        optional = 'absent, or ' if node._optional else ''
        return f'{optional}one of {len(node)}' if node._exclusive else optional and 'may be absent'
    if isinstance(node, Repeat):
        each = _said(node.part)
        return f'a list of {"1 to " if node.split else ""}{node.length}' + (f', each {each}' if each else '')
    if isinstance(node, Sequence):
        return f'a tuple of {len(node)}'
    return describe(node) if isinstance(node, Dependent) else repr(node)


def _inside(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Scope):
        yield from ((name, node[name]) for name in node)
    elif isinstance(node, Sequence):
        yield from (('', part) for part in node.parts)
    elif isinstance(node, Repeat):
        yield from _inside(node.part)
