"""Structure: how domains nest, repeat, exclude and depend on one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from shadho.errors import SpaceError, nearest

__all__ = ['Constant', 'Dependent', 'Repeat', 'Scope', 'Sequence']


class Scope:
    """Named parts of a space, all of them (the default) or one at a time (exclusive).

    Parts are read and assigned as items or attributes: ``layer.padding = ...`` is
    ``layer['padding'] = ...``.
    """

    _parts: dict[str, Any]
    _exclusive: bool
    _optional: bool

    def __init__(self, parts: dict[str, Any], *, exclusive: bool = False, optional: bool = False) -> None:
        self._parts = {}
        self._exclusive = exclusive
        self._optional = optional
        for key, value in parts.items():
            self[key] = value

    def __getitem__(self, key: str) -> Any:
        try:
            return self._parts[key]
        except KeyError:
            raise KeyError(f'no part {key!r} in this scope; {nearest(str(key), self._parts)}') from None

    def __setitem__(self, key: str, value: Any) -> None:
        from shadho.spaces.spec import as_node, check_key

        self._parts[check_key(key)] = as_node(value)

    def __delitem__(self, key: str) -> None:
        del self._parts[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_'):  # copy and pickle ask for such names before there are parts
            raise AttributeError(name)
        try:
            return self._parts[name]
        except KeyError:
            raise AttributeError(f'no part {name!r} in this scope; {nearest(name, self._parts)}') from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith('_'):
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        del self._parts[name]

    def __contains__(self, key: object) -> bool:
        return key in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        from shadho.spaces.spec import describe

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
        from shadho.spaces.spec import describe

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
        from shadho.spaces.spec import describe

        return describe(self)


@attrs.frozen(eq=False, repr=False)
class Dependent:
    """A value computed from other parts of the same setting."""

    targets: tuple[Any, ...]
    callback: Callable[..., Any] | None

    def __attrs_post_init__(self) -> None:
        if self.callback is not None and not callable(self.callback):
            raise SpaceError(f'dependent(): callback must be callable; got {self.callback!r}')

    def compute(self, values: tuple[Any, ...]) -> Any:
        """Apply the callback; without one, the single value itself, or the tuple of them."""
        if self.callback is not None:
            return self.callback(*values)
        return values[0] if len(values) == 1 else values

    def __repr__(self) -> str:
        from shadho.spaces.spec import describe

        return describe(self)
