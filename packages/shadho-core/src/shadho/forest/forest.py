"""Forest: a space split into non-overlapping trees, counted exactly and built one by one.

An ordinary scope multiplies its parts' trees, an exclusive one adds them up, an optional one has
the empty tree besides, and a repeat has one set of trees for each length. Trees are numbered;
tree number i is built by unranking, so that a forest of 10^12 trees costs no more than one of 4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Literal

from shadho.errors import SpaceError, nearest
from shadho.forest.tree import Computed, Drawn, Fixed, Group, Leaf, Part, Path, Tree, show_path
from shadho.spaces.domains import Domain
from shadho.spaces.spec import as_node
from shadho.spaces.structure import Constant, Dependent, Repeat, Scope, Sequence

__all__ = ['Forest']

_KEPT_TREES = 4096


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
        try:
            self._root = _build(as_node(space), None, None)
            for dependent in self._root.dependents():
                dependent.connect()
            for dependent in self._root.dependents():
                dependent.refuse_cycles(())
            self.count = self._root.count
        except RecursionError:
            raise SpaceError('the space is nested too deeply, or contains itself') from None
        if isinstance(self._root, _Product) and not self._root.parts:
            raise SpaceError('the space is empty: there is nothing to search; add at least one domain')
        if isinstance(self._root, _Fixed):
            raise SpaceError(
                f'a space must be a dict, a tuple, a list or a domain; got {space!r} ({type(space).__name__})'
            )
        self._trees: OrderedDict[int, Tree] = OrderedDict()

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f'<Forest of {self.count} tree{"s" if self.count != 1 else ""}>'

    def tree(self, index: int) -> Tree:
        """Build tree number `index`; recently used trees are kept."""
        tree = self._trees.get(index)
        if tree is None:
            if not 0 <= index < self.count:
                raise IndexError(f'tree {index} of a forest of {self.count}')
            leaves: list[Leaf] = []
            root = self._root.unrank(index, (), leaves) or Group('dict', {}, (), 'absent')
            tree = Tree(index, root, leaves)
            self._trees[index] = tree
            if len(self._trees) > _KEPT_TREES:
                self._trees.popitem(last=False)
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
        optional = isinstance(self._root, (_Product, _Union)) and self._root.optional
        tree = self.tree(self._root.rank(_ABSENT if optional and params == {} else params))
        return tree, tree.encode(params)


class _Absent:
    """Stands for an optional part that is not there."""

    def __repr__(self) -> str:
        return 'nothing'


_ABSENT = _Absent()
_NOTHING = Fixed(None)
"""Keeps the place of an absent part in a tuple, a list or an exclusive scope."""


class _Node:
    """A part of the space at one place: knows the number of its trees, and how to build each."""

    count = 1

    def __init__(self, source: Any, parent: _Node | None, key: str | int | None) -> None:
        self.source = source
        self.parent = parent
        self.key = key
        self.parts: list[_Node] = []

    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part | None:
        """Build the part of tree number `index`, adding its leaves; None when it is absent there."""
        raise NotImplementedError

    def rank(self, value: Any) -> int:
        """Return the number of the tree that holds `value`."""
        return 0

    def path(self) -> Path:
        """Return the path from the root; copies of a repeat share one, with -1 for their number."""
        if self.parent is None or self.key is None:
            return ()
        return (*self.parent.path(), self.key)

    def dependents(self) -> Iterator[_Dependent]:
        for part in self.parts:
            yield from part.dependents()

    def occurrences(self, source: Any) -> Iterator[_Node]:
        """Yield the places below (or here) where the user's object `source` stands."""
        if self.source is source:
            yield self
        for part in self.parts:
            yield from part.occurrences(source)

    def refuse(self, value: Any, wanted: str) -> SpaceError:
        return SpaceError(f'the parameters at {show_path(self.path())} must be {wanted}; got {value!r}')


class _Leaf(_Node):
    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part:
        leaf = Leaf(path, self.source)
        leaves.append(leaf)
        return Drawn(len(leaves) - 1, leaf)


class _Fixed(_Node):
    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part:
        return Fixed(self.source.value)


class _Dependent(_Node):
    """A computed value; `links` say how to reach its sources: so many steps up, then a path down."""

    links: list[tuple[int, Path]]
    reads: list[_Node]

    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part:
        sources = tuple(path[: len(path) - up] + down for up, down in self.links)
        return Computed(path, self.source, sources)

    def dependents(self) -> Iterator[_Dependent]:
        yield self

    def connect(self) -> None:
        """Find the sources, each in the nearest enclosing scope that holds it."""
        self.links, self.reads = [], []
        for target in self.source.targets:
            up, scope = 1, self.parent
            while scope is not None and not any(scope.occurrences(target)):
                up, scope = up + 1, scope.parent
            if scope is None:
                raise self._error(f'{target!r} stands in no scope around it; use the very same object in the space')
            found = list(scope.occurrences(target))
            if len(found) > 1:
                places = ' and '.join(show_path(node.path()) for node in found[:2])
                raise self._error(
                    f'{target!r} stands at {places}; which one is meant? Make one of them an object of its own'
                )
            self.links.append((up, found[0].path()[len(scope.path()) :]))
            self.reads.append(found[0])
            self._check_active(scope, found[0])

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
            if isinstance(below, (_Product, _Union)) and below.optional:
                raise self._error(f'{place} may be inactive, because {show_path(below.path())} is optional')
            below = above

    def refuse_cycles(self, above: tuple[_Dependent, ...]) -> None:
        if self in above:
            circle = ' -> '.join(show_path(node.path()) for node in (*above[above.index(self) :], self))
            raise self._error(f'it depends on itself: {circle}')
        for node in self.reads:
            for dependent in node.dependents():
                dependent.refuse_cycles((*above, self))

    def _error(self, reason: str) -> SpaceError:
        return SpaceError(f'the dependent value at {show_path(self.path())} cannot be computed: {reason}')


class _Product(_Node):
    """All parts at once: the number of trees is the product of theirs."""

    def __init__(self, source: Any, parent: _Node | None, key: str | int | None, optional: bool = False) -> None:
        super().__init__(source, parent, key)
        self.optional = optional
        self.shape: Literal['dict', 'tuple'] = 'dict' if isinstance(source, Scope) else 'tuple'

    def close(self) -> None:
        self.count = int(self.optional)
        product = 1
        for part in self.parts:
            product *= part.count
        self.count += product

    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part | None:
        if self.optional:
            if index == 0:
                return None
            index -= 1
        numbers = []
        for part in reversed(self.parts):
            index, number = divmod(index, part.count)
            numbers.append(number)
        parts: dict[str | int, Part] = {}
        for part, number in zip(self.parts, reversed(numbers)):
            key = part.key
            assert key is not None
            inner = part.unrank(number, (*path, key), leaves)
            if inner is not None or self.shape == 'tuple':
                parts[key] = inner or _NOTHING
        return Group(self.shape, parts, path, 'present' if self.optional else '')

    def rank(self, value: Any) -> int:
        if value is _ABSENT and self.optional:
            return 0
        self._check_shape(value)
        index = 0
        for part in self.parts:
            index = index * part.count + part.rank(_inner(value, part))
        return index + int(self.optional)

    def _check_shape(self, value: Any) -> None:
        if self.shape == 'tuple':
            if not isinstance(value, (tuple, list)) or len(value) != len(self.parts):
                raise self.refuse(value, f'a sequence of {len(self.parts)}')
            return
        if not isinstance(value, dict):
            raise self.refuse(value, 'a dict')
        known = [str(part.key) for part in self.parts]
        for key in value:
            if key not in known:
                raise SpaceError(
                    f'the parameters at {show_path(self.path())} have an unknown key {key!r}; {nearest(str(key), known)}'
                )


class _Union(_Node):
    """One part at a time: the number of trees is the sum of theirs."""

    def __init__(self, source: Any, parent: _Node | None, key: str | int | None, optional: bool = False) -> None:
        super().__init__(source, parent, key)
        self.optional = optional

    def close(self) -> None:
        if not self.parts:
            raise SpaceError(
                f'the exclusive scope at {show_path(self.path())} is empty: there is nothing to choose from'
            )
        self.count = int(self.optional) + sum(part.count for part in self.parts)

    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part | None:
        if self.optional:
            if index == 0:
                return None
            index -= 1
        for part in self.parts:
            if index < part.count:
                break
            index -= part.count
        key = part.key
        assert isinstance(key, str)
        return Group('dict', {key: part.unrank(index, (*path, key), leaves) or _NOTHING}, path, key)

    def rank(self, value: Any) -> int:
        if value is _ABSENT and self.optional:
            return 0
        known = [str(part.key) for part in self.parts]
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in known:
            raise self.refuse(value, f'a dict with exactly one of the keys {", ".join(map(repr, known))}')
        index = int(self.optional)
        for part in self.parts:
            if part.key in value:
                return index + part.rank(_inner(value, part))
            index += part.count
        raise AssertionError('unreachable')


class _Repeat(_Node):
    """A list of 1 to n copies: with k trees in the part, the sum of k^L over the lengths L."""

    def close(self) -> None:
        part, source = self.parts[0], self.source
        self.lengths = range(1 if source.split else source.length, source.length + 1)
        self.count = sum(part.count**length for length in self.lengths)

    def unrank(self, index: int, path: Path, leaves: list[Leaf]) -> Part:
        part = self.parts[0]
        for length in self.lengths:
            size = part.count**length
            if index < size:
                break
            index -= size
        numbers = []
        for _ in range(length):
            index, number = divmod(index, part.count)
            numbers.append(number)
        copies: dict[str | int, Part] = {}
        for place, number in enumerate(reversed(numbers)):
            copies[place] = part.unrank(number, (*path, place), leaves) or _NOTHING
        return Group('list', copies, path, str(length) if self.source.split else '')

    def rank(self, value: Any) -> int:
        part = self.parts[0]
        if not isinstance(value, (list, tuple)) or len(value) not in self.lengths:
            raise self.refuse(value, f'a list of {self.lengths[0]} to {self.lengths[-1]} items')
        index = 0
        for item in value:
            index = index * part.count + part.rank(_ABSENT if item is None and _is_optional(part) else item)
        return index + sum(int(part.count**length) for length in self.lengths if length < len(value))


def _is_optional(node: _Node) -> bool:
    return isinstance(node, (_Product, _Union)) and node.optional


def _inner(value: Any, part: _Node) -> Any:
    """Return what `value` holds for `part`; an absent one may be left out, or be None."""
    key = part.key
    if isinstance(value, dict) and key not in value:
        if _is_optional(part):
            return _ABSENT
        if isinstance(part, (_Fixed, _Dependent)):
            return None
        raise SpaceError(f'the parameters hold nothing at {show_path(part.path())}')
    inner = value[key]
    return _ABSENT if inner is None and _is_optional(part) else inner


def _build(source: Any, parent: _Node | None, key: str | int | None) -> _Node:
    """Copy a part of the space, with all below it, to its place in the forest."""
    if isinstance(source, Domain):
        return _Leaf(source, parent, key)
    if isinstance(source, Constant):
        return _Fixed(source, parent, key)
    if isinstance(source, Dependent):
        return _Dependent(source, parent, key)
    node: _Product | _Union | _Repeat
    if isinstance(source, Repeat):
        node = _Repeat(source, parent, key)
        node.parts = [_build(source.part, node, -1)]
    elif isinstance(source, Sequence):
        node = _Product(source, parent, key)
        node.parts = [_build(part, node, place) for place, part in enumerate(source.parts)]
    else:
        assert isinstance(source, Scope)
        node = (_Union if source._exclusive else _Product)(source, parent, key, source._optional)
        node.parts = [_build(source[name], node, name) for name in source]
    node.close()
    return node
