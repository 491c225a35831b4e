"""Structure: how domains nest, repeat, exclude and depend on one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from shadho.errors import SpaceError, brief, nearest

__all__ = ['FLAGS', 'Constant', 'Dependent', 'Repeat', 'Scope', 'Sequence']

FLAGS = ('exclusive', 'optional')


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
        from shadho.spaces.spec import as_node

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
            raise SpaceError(f'dependent(): callback must be callable; got {brief(self.callback)}')

    def compute(self, values: tuple[Any, ...]) -> Any:
        """Apply the callback; without one, the single value itself, or the tuple of them."""
        if self.callback is not None:
            return self.callback(*values)
        return values[0] if len(values) == 1 else values

    def __repr__(self) -> str:
        from shadho.spaces.spec import describe

        return describe(self)
