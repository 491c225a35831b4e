"""Standard streams as they may be: replaced by other objects, closed, missing, or without the methods of a file."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ['Echo', 'is_terminal', 'say', 'usable_streams', 'write']


def is_terminal(stream: Any) -> bool:
    """Return whether a stream leads to a terminal; what replaces a stream may have any methods, and claim anything."""
    try:
        return bool(stream.isatty()) and os.isatty(stream.fileno())
    except Exception:
        return False


def write(stream: Any, text: str) -> None:
    """Write text that a search can do without: nobody may be able to read it, and that must not end the search."""
    with contextlib.suppress(Exception):
        _write(stream, text)


def say(text: str) -> None:
    """Write a line for people to standard error, if there is one."""
    write(sys.stderr, text + '\n')
    with contextlib.suppress(Exception):
        sys.stderr.flush()


class Echo:
    """Shows on standard output what trials have printed.

    Parameters
    ----------
    most : float, default infinite
        Lines shown in a second. Where there are more, the last ones of a trial are shown, and how many are left out.
    clock : callable, default time.monotonic

    Attributes
    ----------
    left_out : int
        Lines that were not shown, all together.
    """

    def __init__(self, most: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_out = 0
        self._most = most
        self._clock = clock
        self._until = -math.inf
        self._room = 0.0
        self._untold = 0

    def show(self, text: str) -> None:
        """Show what a trial has printed, or its end."""
        if math.isinf(self._most):
            write(sys.stdout, text + '\n' * (not text.endswith('\n')))
            return
        if self._clock() >= self._until:
            self._until, self._room = self._clock() + 1.0, self._most
        lines = text.removesuffix('\n').split('\n')  # a bar that is drawn again and again is one
        shown = lines[max(0, len(lines) - int(self._room)) :] if self._room >= 1 else []
        self._room -= len(shown)
        self.left_out += len(lines) - len(shown)
        self._untold += len(lines) - len(shown)
        if shown:
            told = [f'[... {self._untold:,} more]'] if self._untold else []
            self._untold = 0
            write(sys.stdout, '\n'.join([*told, *shown, '']))


def go_together(one: Any, other: Any) -> bool:
    """Whether two streams are the same terminal, file or pipe: who reads one reads the other."""
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except (AttributeError, OSError, ValueError):  # a stream that is missing, closed, or not a file
        return False


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Let libraries rely on the standard streams: as long as this is entered, each has the methods of a text file.

    A stream that is missing or closed leads nowhere. One that was replaced by another kind of object keeps going there. The
    file numbers 0 to 2 are taken in any case, lest a file get one of them that other programs take for a standard stream.
    """
    _take_numbers()
    replaced = {}
    for name in ('stdin', 'stdout', 'stderr'):
        before = getattr(sys, name, None)
        after = _usable(name, before)
        if after is not before:
            replaced[name] = before, after
            setattr(sys, name, after)
    try:
        yield
    finally:
        for name, (before, after) in replaced.items():
            if getattr(sys, name, None) is after:  # else somebody has replaced it meanwhile
                setattr(sys, name, before)


def _take_numbers() -> None:
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            os.dup2(null, number)
            if null != number:
                os.close(null)


def _usable(name: str, stream: Any) -> Any:
    try:
        is_open = stream is not None and not getattr(stream, 'closed', False)
    except Exception:
        is_open = False
    if not is_open:
        return io.StringIO() if name == 'stdin' else _Stream(None)
    if name == 'stdin' or (isinstance(stream, io.TextIOBase) and (name == 'stdout' or stream.errors != 'strict')):
        return stream
    return _Stream(stream)  # standard error is never strict, lest an error message raise another error


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # its encoding has no such letters
        stream.write(text.encode('ascii', 'backslashreplace').decode())


class _Stream(io.TextIOBase):
    """What replaces a stream, as a file; its errors are those that `logging` and `warnings` ignore."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            if self.stream is not None:
                _write(self.stream, text)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f'nothing can be written to {type(self.stream).__name__}: {error}') from error
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        flush = getattr(self.stream, 'flush', None)
        if flush is not None:
            with contextlib.suppress(ValueError):  # its own file was closed
                flush()

    def isatty(self) -> bool:
        return is_terminal(self.stream)

    def fileno(self) -> int:
        fileno = getattr(self.stream, 'fileno', None)
        return int(super().fileno() if fileno is None else fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, 'encoding', None) or 'utf-8'

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(self.stream, 'errors', None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
