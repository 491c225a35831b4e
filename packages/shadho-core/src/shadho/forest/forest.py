"""Forest: a space split into non-overlapping trees, counted exactly and built one by one.

An ordinary scope multiplies its parts' trees, an exclusive one adds them up, an optional one has
the empty tree besides, and a repeat has one set of trees for each length. Trees are numbered;
tree number i is built by unranking, so that a forest of 10^12 trees costs no more than one of 4.
"""

from __future__ import annotations

import bisect
import html
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from shadho.errors import SpaceError, nearest
from shadho.forest.tree import ABSENT, Computed, Drawn, Fixed, Group, Leaf, Part, Path, Tree, show_path
from shadho.jsontags import survives_json
from shadho.spaces.domains import Choice, Domain
from shadho.spaces.picture import picture
from shadho.spaces.structure import Constant, Dependent, Repeat, Scope, as_node, refusing_endless_nesting
from shadho.spaces.structure import Sequence as TupleOfParts
from shadho.words import counted

__all__ = ['Forest']

_MOST_TREES = 10**4000
"""A number of more digits cannot be written as text in Python (`sys.set_int_max_str_digits`)."""

_MOST_PLACES = 10**5
"""Values in one setting."""

_KEPT_TREES = 4096
_KEPT_PARTS = 64


class Forest:
    """The trees of a search space.

    Parameters
    ----------
    space : dict, domain, or any structure of `shadho.spaces`
        Copied: changing it later changes nothing here.

    Attributes
    ----------
    space : Any
        The space as it was given.
    count : int
        The exact number of trees.

    Raises
    ------
    SpaceError
        When the space is empty, or a dependent value cannot be computed.

    Examples
    --------
    >>> from shadho import spaces
    >>> x = spaces.uniform(0, 1)
    >>> forest = Forest({'exclusive': True, 'a': {'x': x}, 'b': {'x': x, 'y': x}})
    >>> forest.count
    2
    >>> forest.tree(1).decode([0.5, 0.25])
    {'b': {'x': 0.5, 'y': 0.25}}
    """

    def __init__(self, space: Any) -> None:
        self.space = space
        self._trees: OrderedDict[int, Tree] = OrderedDict()
        with refusing_endless_nesting(space):
            self._root = _build(as_node(space), None, 0)
            for dependent in self._root.dependents():
                dependent.connect()
            acyclic: set[_Dependent] = set()
            for dependent in self._root.dependents():
                dependent.refuse_cycles((), acyclic)
        self.count = self._root.count
        if isinstance(self._root, _Product) and not self._root.parts:
            raise SpaceError('the space is empty: there is nothing to search; add at least one domain')
        if isinstance(self._root, _Fixed):
            raise SpaceError(
                f'a space must be a dict, a tuple, a list or a domain; got {space!r} ({type(space).__name__})'
            )

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f'<Forest of {counted(self.count, "tree")}>'

    def _repr_html_(self) -> str:
        """Show a notebook the space as a picture."""
        return f'<pre>{html.escape(picture(self.space))}\n\n{counted(self.count, "tree")}</pre>'

    @property
    def leaves(self) -> list[Leaf]:
        """Every domain of the space at its place; the copies of a repeat count once, as number -1."""
        return [Leaf(node.path(), node.source) for node in self._root.ends() if isinstance(node, _Leaf)]

    @cached_property
    def keeps_values(self) -> bool:
        """Whether every value of the space survives the way through JSON, as into a storage."""
        return all(survives_json(value) for _, value in self.values())

    def values(self) -> Iterator[tuple[Path, Any]]:
        """Yield every constant and every value of a choice with its place; those of a repeat once, as number -1."""
        for node in self._root.ends():
            if isinstance(node, _Fixed):
                yield node.path(), node.source.value
            elif isinstance(node.source, Choice):
                yield from ((node.path(), value) for value in node.source.values)

    def tree(self, index: int) -> Tree:
        """Build tree number `index`; recently used trees are kept."""
        tree = self._trees.get(index)
        if tree is None:
            if not 0 <= index < self.count:
                raise IndexError(f'tree {index} of a forest of {self.count}')
            tree = self._trees[index] = Tree(index, self._root.unrank(index), self._locate)
            if len(self._trees) > _KEPT_TREES:
                self._trees.popitem(last=False)
        else:
            self._trees.move_to_end(index)
        return tree

    def __iter__(self) -> Iterator[Tree]:
        return (self.tree(index) for index in range(self.count))

    def encode(self, params: Any) -> tuple[Tree, tuple[float, ...]]:
        """Find the tree and the point that stand for `params`.

        Raises
        ------
        SpaceError
            When `params` does not have the shape of the space, or a value lies outside its domain.
        """
        index, point = self._locate(params)
        return self.tree(index), point

    def _locate(self, params: Any) -> tuple[int, tuple[float, ...]]:
        if self._root.optional and params == {}:
            params = None
        point: list[float] = []
        return self._root.rank(params, (), point), tuple(point)


class _Node:
    """A part of the space at one place: knows the number of its trees, and builds each.

    Attributes
    ----------
    count : int
        The number of trees.
    places : int
        The number of values, computed and constant ones too, in the largest tree.
    optional : bool
        Whether tree number 0 is the empty one.
    required : bool
        Whether parameters must hold a value for it, even though it is not optional.
    """

    count = 1
    places = 1
    optional = False
    required = True
    parts: Sequence[_Node] = ()

    def __init__(self, source: Any, parent: _Node | None, key: str | int) -> None:
        self.source = source
        self.parent = parent
        self.key = key
        self._kept: dict[int, Part] = {}

    def unrank(self, index: int) -> Part:
        """Build the part as it is in tree number `index`."""
        part = self._kept.get(index)
        if part is None:
            part = ABSENT if self.optional and index == 0 else self._unrank(index - self.optional)
            if self.count <= _KEPT_PARTS:
                self._kept[index] = part
        return part

    def rank(self, value: Any, path: Path, point: list[float]) -> int:
        """Return the number of the tree that holds `value`, and add its coordinates to `point`."""
        if self.optional and value is None:
            return 0
        return self._rank(value, path, point) + self.optional

    def _unrank(self, index: int) -> Part:
        raise NotImplementedError

    def _rank(self, value: Any, path: Path, point: list[float]) -> int:
        return 0

    def _check_size(self, places: int) -> int:
        """Return a number of values in one setting, refusing one that nobody could mean."""
        if places > _MOST_PLACES:
            raise SpaceError(
                f'the space at {show_path(self.path())} has settings of more than {_MOST_PLACES:,} values; is the n of a '
                'repeat as it was meant?'
            )
        return places

    def _too_many(self) -> SpaceError:
        return SpaceError(
            f'the space at {show_path(self.path())} has more than 10^4000 trees. Choose between values (a list) rather than '
            'between parts where these need no parameters of their own, or let a repeat have a fixed length (split=False)'
        )

    def path(self) -> Path:
        """Return the path from the root; copies of a repeat share one, with -1 for their number."""
        return () if self.parent is None else (*self.parent.path(), self.key)

    def ends(self) -> Iterator[_Node]:
        """Yield what has no parts of its own: domains, constants and dependents."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.ends()

    def dependents(self) -> Iterator[_Dependent]:
        return (node for node in self.ends() if isinstance(node, _Dependent))

    def occurrences(self, source: Any) -> Iterator[_Node]:
        """Yield the places below (or here) where the user's object `source` stands."""
        if self.source is source:
            yield self
        for part in self.parts:
            yield from part.occurrences(source)


class _Leaf(_Node):
    def _unrank(self, index: int) -> Part:
        return Drawn(self.source)

    def _rank(self, value: Any, path: Path, point: list[float]) -> int:
        try:
            point.append(self.source.encode(value))
        except SpaceError as error:
            raise SpaceError(f'at {show_path(path)}: {error}') from None
        return 0


class _Fixed(_Node):
    required = False

    def _unrank(self, index: int) -> Part:
        return Fixed(self.source.value)


class _Dependent(_Node):
    """A computed value; it reads `reads`, and `links` say how to reach each from here."""

    required = False
    links: list[tuple[int, Path]]
    reads: list[_Node]

    def _unrank(self, index: int) -> Part:
        return Computed(self.source, self.links)

    def connect(self) -> None:
        """Find the sources, each in the nearest enclosing scope that holds it."""
        self.links, self.reads = [], []
        for target in self.source.targets:
            up, scope = 1, self.parent
            while scope is not None and not any(scope.occurrences(target)):
                up, scope = up + 1, scope.parent
            if scope is None:
                raise self._error(f'{target!r} stands in no scope around it; use the very same object in the space')
            node = self._only(target, scope)
            self.links.append((up, node.path()[len(scope.path()) :]))
            self.reads.append(node)
            self._check_active(scope, node)

    def _only(self, target: Any, scope: _Node) -> _Node:
        """Return the place of `target` in `scope`: one directly in it goes before those further down."""
        found = [part for part in scope.parts if part.source is target] or list(scope.occurrences(target))
        if len(found) > 1:
            places = ' and '.join(show_path(node.path()) for node in found[:2])
            raise self._error(
                f'{target!r} stands at {places}; which one is meant? Make one of them an object of its own'
            )
        return found[0]

    def _check_active(self, scope: _Node, node: _Node) -> None:
        """Refuse a source that some trees lack while they have this dependent."""
        place, below = show_path(node.path()), node
        while below is not scope and below.parent is not None:
            above = below.parent
            if isinstance(above, _Union):
                raise self._error(f'{place} may be inactive, because {show_path(above.path())} is exclusive')
            if isinstance(above, _Repeat):
                raise self._error(
                    f'{place} is repeated, so which copy is meant? Make the dependent part of what is repeated'
                )
            if below.optional:
                raise self._error(f'{place} may be inactive, because {show_path(below.path())} is optional')
            below = above

    def refuse_cycles(self, above: tuple[_Dependent, ...], acyclic: set[_Dependent]) -> None:
        """Follow what this one reads; `above` led here, and `acyclic` have been followed already."""
        if self in above:
            circle = ' -> '.join(show_path(node.path()) for node in (*above[above.index(self) :], self))
            raise self._error(f'it depends on itself: {circle}')
        if self not in acyclic:
            for node in self.reads:
                for dependent in node.dependents():
                    dependent.refuse_cycles((*above, self), acyclic)
            acyclic.add(self)

    def _error(self, reason: str) -> SpaceError:
        return SpaceError(f'the dependent value at {show_path(self.path())} cannot be computed: {reason}')


class _Product(_Node):
    """All parts at once: the number of trees is the product of theirs."""

    def __init__(self, source: Scope | TupleOfParts, parent: _Node | None, key: str | int) -> None:
        super().__init__(source, parent, key)
        if isinstance(source, Scope):
            self.is_dict = True
            self.parts = [_build(source[name], self, name) for name in source]
            # A whole space whose parts may all be absent has the empty tree already.
            self.optional = source._optional and not (parent is None and all(part.optional for part in self.parts))
        else:
            self.is_dict = False
            self.parts = [_build(part, self, place) for place, part in enumerate(source.parts)]
        self.places = self._check_size(max(1, sum(part.places for part in self.parts)))
        self.count = 1
        for part in self.parts:
            self.count *= part.count
            if self.count > _MOST_TREES:
                raise self._too_many()
        self.count += self.optional

    def _unrank(self, index: int) -> Part:
        inner: list[Part] = []
        for part in reversed(self.parts):
            index, number = divmod(index, part.count)
            inner.append(part.unrank(number))
        inner.reverse()
        parts = {part.key: own for part, own in zip(self.parts, inner)}
        if not self.is_dict:
            return Group('tuple', parts)
        absent = [key for key, own in parts.items() if own is ABSENT]
        for key in absent:
            del parts[key]
        return Group('dict', parts, 'present' if self.optional else '', absent)

    def _rank(self, value: Any, path: Path, point: list[float]) -> int:
        values = self._named(value, path) if self.is_dict else self._numbered(value, path)
        index = 0
        for part in self.parts:
            inner = (*path, part.key)
            if part.key not in values and part.required and not part.optional:
                raise SpaceError(f'the parameters hold nothing at {show_path(inner)}')
            index = index * part.count + part.rank(values.get(part.key), inner, point)
        return index

    def _named(self, value: Any, path: Path) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _refusal(value, path, 'a dict')
        known = [str(part.key) for part in self.parts]
        for key in value:
            if key not in known:
                raise SpaceError(
                    f'the parameters at {show_path(path)} have an unknown key {key!r}; {nearest(str(key), known)}'
                )
        return value

    def _numbered(self, value: Any, path: Path) -> dict[Any, Any]:
        if not isinstance(value, (tuple, list)) or len(value) != len(self.parts):
            raise _refusal(value, path, f'a sequence of {len(self.parts)}')
        return dict(enumerate(value))


class _Union(_Node):
    """One part at a time: the number of trees is the sum of theirs."""

    def __init__(self, source: Scope, parent: _Node | None, key: str | int) -> None:
        super().__init__(source, parent, key)
        self.parts = [_build(source[name], self, name) for name in source]
        if not self.parts:
            raise SpaceError(
                f'the exclusive scope at {show_path(self.path())} is empty: there is nothing to choose from'
            )
        self.optional = source._optional
        self.places = max(part.places for part in self.parts)
        self.starts = list(accumulate((part.count for part in self.parts[:-1]), initial=0))
        self.count = self.starts[-1] + self.parts[-1].count + self.optional

    def _unrank(self, index: int) -> Part:
        place = bisect.bisect_right(self.starts, index) - 1
        part, index = self.parts[place], index - self.starts[place]
        return Group('dict', {part.key: part.unrank(index)}, str(part.key))

    def _rank(self, value: Any, path: Path, point: list[float]) -> int:
        index = 0
        if isinstance(value, dict) and len(value) == 1:
            for part in self.parts:
                if part.key in value:
                    return index + part.rank(value[part.key], (*path, part.key), point)
                index += part.count
        keys = ', '.join(repr(part.key) for part in self.parts)
        raise _refusal(value, path, f'a dict with exactly one of the keys {keys}')


class _Repeat(_Node):
    """A list of 1 to n copies: with k trees in the part, the sum of k^L over the lengths L."""

    def __init__(self, source: Repeat, parent: _Node | None, key: str | int) -> None:
        super().__init__(source, parent, key)
        self.part = _build(source.part, self, -1)
        self.parts = [self.part]
        self.lengths = range(1 if source.split else source.length, source.length + 1)
        self.places = self._check_size(source.length * self.part.places)
        if source.length * math.log10(self.part.count) > math.log10(_MOST_TREES):
            raise self._too_many()
        self.count = self._shorter(source.length + 1)

    def _shorter(self, length: int) -> int:
        """Return the number of trees of all shorter lengths, by the sum of a geometric series."""
        k, first = self.part.count, self.lengths[0]
        return length - first if k == 1 else (k**length - k**first) // (k - 1)

    def _unrank(self, index: int) -> Part:
        length = self.lengths[bisect.bisect_right(self.lengths, index, key=self._shorter) - 1]
        index -= self._shorter(length)
        copies: list[Part] = []
        for _ in range(length):
            index, number = divmod(index, self.part.count)
            copies.append(self.part.unrank(number))
        decision = str(length) if len(self.lengths) > 1 else ''
        return Group('list', dict(enumerate(reversed(copies))), decision)

    def _rank(self, value: Any, path: Path, point: list[float]) -> int:
        if not isinstance(value, (list, tuple)) or len(value) not in self.lengths:
            lengths = ' to '.join(map(str, sorted({self.lengths[0], self.lengths[-1]})))
            raise _refusal(value, path, f'a list of length {lengths}')
        index = 0
        for place, item in enumerate(value):
            index = index * self.part.count + self.part.rank(item, (*path, place), point)
        return index + self._shorter(len(value))


def _refusal(value: Any, path: Path, wanted: str) -> SpaceError:
    return SpaceError(f'the parameters at {show_path(path)} must be {wanted}; got {value!r}')


def _build(source: Any, parent: _Node | None, key: str | int) -> _Node:
    """Copy a part of the space, with all below it, to its place in the forest."""
    if isinstance(source, Domain):
        return _Leaf(source, parent, key)
    if isinstance(source, Constant):
        return _Fixed(source, parent, key)
    if isinstance(source, Dependent):
        return _Dependent(source, parent, key)
    if isinstance(source, Repeat):
        return _Repeat(source, parent, key)
    if isinstance(source, Scope) and source._exclusive:
        return _Union(source, parent, key)
    assert isinstance(source, (Scope, TupleOfParts))
    return _Product(source, parent, key)
