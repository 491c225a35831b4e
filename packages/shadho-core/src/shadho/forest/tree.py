"""One tree of the forest: a space without conditions, as a unit cube."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import SpaceError
from shadho.records import copy_containers
from shadho.spaces.domains import Discrete, Domain, Kind
from shadho.spaces.structure import Dependent
from shadho.words import counted

__all__ = ['Dimension', 'Leaf', 'Path', 'Tree', 'show_path', 'sizes_of', 'snap']

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


def sizes_of(dimensions: Sequence[Dimension]) -> npt.NDArray[np.int64]:
    """Return the number of values of each dimension; 0 for a continuous one."""
    return np.array([dimension.size or 0 for dimension in dimensions], dtype=np.int64)


def snap(points: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return points of the unit cube with discrete coordinates in the middles of their cells.

    Parameters
    ----------
    points : array, shape (..., dimensions)
    sizes : array, shape (dimensions,)
        Numbers of values; 0 for a continuous coordinate, which stays as it is.
    """
    whole = np.flatnonzero(sizes)
    if len(whole):
        points = points.copy()
        counts = sizes[whole]
        points[..., whole] = (np.clip(np.floor(points[..., whole] * counts), 0, counts - 1) + 0.5) / counts
    return points


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
    """

    def __init__(self, index: int, root: Part, locate: Callable[[Any], tuple[int, tuple[float, ...]]]) -> None:
        self.index = index
        self._root = root
        self._locate = locate

    def __repr__(self) -> str:
        return f'<Tree {self.index}: {self.label}, {counted(len(self), "dimension")}>'

    def __len__(self) -> int:
        return self._root.size

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """The domains that are sampled, in the order of the coordinates."""
        return tuple(self._root.leaves(()))

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """One `Dimension` for each coordinate."""
        return tuple(Dimension(leaf.domain.kind, leaf.domain.size, leaf.path, leaf.domain.grid) for leaf in self.leaves)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of values of each coordinate; 0 for a continuous one."""
        return sizes_of(self.dimensions)

    @cached_property
    def size(self) -> float:
        """How many settings there are, which is 1 without coordinates and infinity with a continuous one."""
        sizes: list[int] = self.sizes.tolist()
        return math.prod(sizes) if all(sizes) else math.inf

    @cached_property
    def grid_leaves(self) -> tuple[tuple[int, Discrete], ...]:
        """Coordinates and domains of the leaves whose combinations are all visited."""
        return tuple(
            (index, leaf.domain)
            for index, leaf in enumerate(self.leaves)
            if leaf.domain.grid and isinstance(leaf.domain, Discrete)
        )

    @cached_property
    def decisions(self) -> dict[Path, str]:
        """Decisions of the forest by their places (which option, how many copies, present or absent)."""
        return dict(self._root.decisions(()))

    @cached_property
    def label(self) -> str:
        """What distinguishes this tree from the others, for people; 'all' when nothing does."""
        told = (f'{show_path(path)}={decision}' if path else decision for path, decision in self.decisions.items())
        return ', '.join(told) or 'all'

    def decode(self, point: Sequence[float]) -> Any:
        """Return the parameters that a point of the unit cube stands for.

        Parameters
        ----------
        point : sequence of float, length ``len(tree)``

        Raises
        ------
        SpaceError
            When `point` does not lie in the cube, or a callback of a dependent value raises.
        """
        coordinates = list(map(float, point))
        if len(coordinates) != self._root.size or not all(0.0 <= u <= 1.0 for u in coordinates):
            raise SpaceError(f'a point in {self!r} is made of {len(self)} numbers from 0 to 1; got {point!r}')
        return self._root.value(_Setting(self._root, coordinates), 0, ())

    def encode(self, params: Any) -> tuple[float, ...]:
        """Return a point that stands for `params`.

        Raises
        ------
        SpaceError
            When `params` does not have the shape of this tree, or a value lies outside its domain.
        """
        index, point = self._locate(params)
        if index != self.index:
            raise SpaceError(f'the parameters belong to tree {index} of the forest, not to tree {self.index}')
        return point


class _Setting:
    """One point being decoded: computed values are kept, so that each callback runs once."""

    __slots__ = ('computed', 'point', 'root')

    def __init__(self, root: Part, point: list[float]) -> None:
        self.root = root
        self.point = point
        self.computed: dict[Path, Any] = {}

    def at(self, path: Path) -> Any:
        part, offset = self.root, 0
        for key in path:
            part, offset = part.find(key, offset)
        return part.value(self, offset, path)


class Part:
    """A part of a tree, the same wherever it stands: trees, and copies within one, share it.

    Its own place, the `path` and the `offset` of its first coordinate, comes from outside.

    Attributes
    ----------
    size : int
        Its number of coordinates.
    """

    __slots__ = ()

    size = 0

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        raise NotImplementedError

    def leaves(self, path: Path) -> Iterator[Leaf]:
        return iter(())

    def decisions(self, path: Path) -> Iterator[tuple[Path, str]]:
        """Yield what the forest decided: which option, how many copies, present or absent."""
        return iter(())

    def find(self, key: str | int, offset: int) -> tuple[Part, int]:
        """Return the part under `key` and the offset of its first coordinate."""
        raise KeyError(key)


class Fixed(Part):
    """A constant."""

    __slots__ = ('constant',)

    def __init__(self, constant: Any) -> None:
        self.constant = constant

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        return self.constant


class Absent(Part):
    """An optional part that is not there: nothing in a dict, None where its place must be kept."""

    __slots__ = ()

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        return None if path else {}

    def decisions(self, path: Path) -> Iterator[tuple[Path, str]]:
        yield path, 'absent'


ABSENT = Absent()


class Drawn(Part):
    """A coordinate."""

    __slots__ = ('domain',)

    size = 1

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        return self.domain.decode(setting.point[offset])

    def leaves(self, path: Path) -> Iterator[Leaf]:
        yield Leaf(path, self.domain)


class Computed(Part):
    """A value computed from others; each link says how to reach one: so many steps up, then a path down."""

    __slots__ = ('dependent', 'links')

    def __init__(self, dependent: Dependent, links: Sequence[tuple[int, Path]]) -> None:
        self.dependent = dependent
        self.links = links

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        if path not in setting.computed:
            # Copies: what a callback does to a list must not change the space.
            values = tuple(copy_containers(setting.at(path[: len(path) - up] + down)) for up, down in self.links)
            try:
                setting.computed[path] = self.dependent.compute(values)
            except Exception as error:
                raise SpaceError(
                    f'the callback of the dependent value at {show_path(path)} raised {type(error).__name__}: {error}; '
                    f'it was called with {", ".join(map(repr, values))}'
                ) from error
        return setting.computed[path]


class Group(Part):
    """Parts under keys: as a dict, a list or a tuple.

    `decision` says what the forest decided here; `absent` names the parts that are left out.
    """

    __slots__ = ('absent', 'decision', 'decoders', 'parts', 'shape', 'size')

    def __init__(
        self,
        shape: Literal['dict', 'list', 'tuple'],
        parts: dict[str | int, Part],
        decision: str = '',
        absent: Sequence[str | int] = (),
    ) -> None:
        self.shape = shape
        self.parts = parts
        self.decision = decision
        self.absent = absent
        self.size = sum([part.size for part in parts.values()])
        drawn = [part.domain.decode for part in parts.values() if type(part) is Drawn]
        self.decoders = drawn if len(drawn) == len(parts) else None  # of one that is flat, as most are

    def value(self, setting: _Setting, offset: int, path: Path) -> Any:
        if self.decoders is not None:
            point = setting.point[offset : offset + self.size]
            values = dict(zip(self.parts, [decode(u) for decode, u in zip(self.decoders, point)]))
        else:
            values = {}
            for key, part in self.parts.items():
                values[key] = part.value(setting, offset, (*path, key))
                offset += part.size
        if self.shape == 'dict':
            return values
        return list(values.values()) if self.shape == 'list' else tuple(values.values())

    def leaves(self, path: Path) -> Iterator[Leaf]:
        for key, part in self.parts.items():
            yield from part.leaves((*path, key))

    def decisions(self, path: Path) -> Iterator[tuple[Path, str]]:
        if self.decision:
            yield path, self.decision
        for key in self.absent:
            yield (*path, key), 'absent'
        for key, part in self.parts.items():
            yield from part.decisions((*path, key))

    def find(self, key: str | int, offset: int) -> tuple[Part, int]:
        for own, part in self.parts.items():
            if own == key:
                return part, offset
            offset += part.size
        raise KeyError(key)


def show_path(path: Path) -> str:
    """Write a path for people; -1 stands for every copy of a repeat.

    Examples
    --------
    >>> show_path(('layers', 0, 'width'))
    'layers[0].width'
    >>> show_path(('batch norm', 'momentum'))
    "['batch norm'].momentum"
    """
    text = ''
    for key in path:
        if isinstance(key, str) and key.isidentifier():
            text += f'.{key}'
        else:
            text += '[*]' if key == -1 else f'[{key!r}]'
    return text.removeprefix('.') or '(the whole space)'
