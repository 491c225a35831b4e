"""One tree of the forest: a space without conditions, as a unit cube."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import attrs

from shadho.errors import SpaceError
from shadho.spaces.domains import Discrete, Domain, Kind
from shadho.spaces.structure import Dependent

__all__ = ['Dimension', 'Leaf', 'Path', 'Tree']

Path = tuple[str | int, ...]


@attrs.frozen
class Dimension:
    """What a sampler knows of one coordinate.

    Attributes
    ----------
    kind : {'continuous', 'integer', 'categorical'}
    size : int or None
        Number of values; None when continuous. Value number i owns the stretch [i, i + 1) / size.
    path : tuple
        Where the value stands in the parameters: the same path is the same leaf in every tree.
    grid : bool
        Whether the search itself sets this coordinate, to visit every combination.
    """

    kind: Kind
    size: int | None
    path: Path
    grid: bool = False


@attrs.frozen(eq=False)
class Leaf:
    """A domain at its place in the parameters."""

    path: Path
    domain: Domain


class Tree:
    """One of the non-overlapping trees of a forest.

    Attributes
    ----------
    index : int
        Its number in the forest.
    leaves : tuple of Leaf
        The domains that are sampled, in the order of the coordinates.
    """

    def __init__(self, index: int, root: Part, leaves: Sequence[Leaf]) -> None:
        self.index = index
        self.leaves = tuple(leaves)
        self._root = root

    def __repr__(self) -> str:
        return f'<Tree {self.index}: {self.label}, {len(self)} dimensions>'

    def __len__(self) -> int:
        return len(self.leaves)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """One `Dimension` for each coordinate."""
        return tuple(Dimension(leaf.domain.kind, leaf.domain.size, leaf.path, leaf.domain.grid) for leaf in self.leaves)

    @cached_property
    def grid_leaves(self) -> tuple[tuple[int, Discrete], ...]:
        """Coordinates and domains of the leaves whose combinations are all visited."""
        return tuple(
            (index, leaf.domain)
            for index, leaf in enumerate(self.leaves)
            if leaf.domain.grid and isinstance(leaf.domain, Discrete)
        )

    @cached_property
    def label(self) -> str:
        """What distinguishes this tree from the others, for people; 'all' when nothing does."""
        return ', '.join(self._root.decisions()) or 'all'

    def decode(self, point: Sequence[float]) -> Any:
        """Return the parameters that a point of the unit cube stands for.

        Parameters
        ----------
        point : sequence of float, length ``len(tree)``

        Raises
        ------
        SpaceError
            When a callback of a dependent value raises.
        """
        setting = _Setting(self._root, point)
        return self._root.value(setting)

    def encode(self, params: Any) -> tuple[float, ...]:
        """Return a point that stands for `params`.

        Raises
        ------
        SpaceError
            When `params` does not have the shape of this tree, or a value lies outside its domain.
        """
        point = [0.5] * len(self.leaves)
        self._root.encode(params, point)
        return tuple(point)


class _Setting:
    """One point being decoded: computed values are kept, so that each callback runs once."""

    def __init__(self, root: Part, point: Sequence[float]) -> None:
        self.root = root
        self.point = point
        self.computed: dict[Path, Any] = {}

    def at(self, path: Path) -> Any:
        part = self.root
        for key in path:
            part = part.part(key)
        return part.value(self)


class Part:
    """A part of a tree: knows its value in a setting, and the coordinates of a value."""

    __slots__ = ()

    def value(self, setting: _Setting) -> Any:
        raise NotImplementedError

    def encode(self, value: Any, point: list[float]) -> None:
        """Set the coordinates that stand for `value`; parts without coordinates accept anything."""

    def part(self, key: str | int) -> Part:
        raise KeyError(key)

    def decisions(self) -> list[str]:
        return []


@attrs.frozen(eq=False)
class Fixed(Part):
    """A constant, or None in place of an absent part."""

    constant: Any

    def value(self, setting: _Setting) -> Any:
        return self.constant


@attrs.frozen(eq=False)
class Drawn(Part):
    """A coordinate."""

    index: int
    leaf: Leaf

    def value(self, setting: _Setting) -> Any:
        return self.leaf.domain.decode(setting.point[self.index])

    def encode(self, value: Any, point: list[float]) -> None:
        try:
            point[self.index] = self.leaf.domain.encode(value)
        except SpaceError as error:
            raise SpaceError(f'at {show_path(self.leaf.path)}: {error}') from None


@attrs.frozen(eq=False)
class Computed(Part):
    """A value computed from other values, which stand at `sources`."""

    path: Path
    dependent: Dependent
    sources: tuple[Path, ...]

    def value(self, setting: _Setting) -> Any:
        if self.path not in setting.computed:
            values = tuple(setting.at(path) for path in self.sources)
            try:
                setting.computed[self.path] = self.dependent.compute(values)
            except Exception as error:
                raise SpaceError(
                    f'the callback of the dependent value at {show_path(self.path)} raised {type(error).__name__}: '
                    f'{error}, called with {", ".join(map(repr, values))}'
                ) from error
        return setting.computed[self.path]


@attrs.frozen(eq=False)
class Group(Part):
    """Parts under keys: as a dict, a list or a tuple.

    `decision` says what the forest decided here: which option, or how many copies.
    """

    shape: Literal['dict', 'list', 'tuple']
    parts: dict[str | int, Part]
    path: Path = ()
    decision: str = ''

    def value(self, setting: _Setting) -> Any:
        if self.shape == 'dict':
            return {key: part.value(setting) for key, part in self.parts.items()}
        values = [part.value(setting) for part in self.parts.values()]
        return values if self.shape == 'list' else tuple(values)

    def encode(self, value: Any, point: list[float]) -> None:
        for key, part in self.parts.items():
            try:
                inner = value[key]
            except (KeyError, IndexError, TypeError):
                if isinstance(part, (Fixed, Computed)):
                    continue
                raise SpaceError(f'the parameters hold nothing at {show_path((*self.path, key))}') from None
            part.encode(inner, point)

    def part(self, key: str | int) -> Part:
        return self.parts[key]

    def decisions(self) -> list[str]:
        own = []
        if self.decision:
            own = [f'{show_path(self.path)}={self.decision}' if self.path else self.decision]
        return own + [text for part in self.parts.values() for text in part.decisions()]


def show_path(path: Path) -> str:
    """Write a path for people.

    Examples
    --------
    >>> show_path(('layers', 0, 'width'))
    'layers[0].width'
    """
    text = ''
    for key in path:
        text += f'[{key}]' if isinstance(key, int) else f'.{key}'
    return text.lstrip('.') or '(the whole space)'
