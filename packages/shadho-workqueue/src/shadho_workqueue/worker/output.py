"""What the engine's worker prints, passed on to the user in words that help, within a second of being printed."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Sequence

from shadho_workqueue.reach import Watch

__all__ = ['WorkerOutput', 'rephrase', 'unstamped']

_SETTLED = 0.5
"""Seconds of silence after which half a line is passed on, and a connection counts as one that lasts."""

_AGAIN = 60.0
"""Seconds after which the same trouble is mentioned again: the engine does so at every attempt."""

_STAMP = re.compile(r'^\d+/\d+/\d+ [\d:.]+ \S+\[\d+\] \w+: ')
_CONNECTED = re.compile(r'\bconnected to manager')
_DISCONNECTED = re.compile(r'disconnected from manager')
_TROUBLE = re.compile(r"couldn't (resolve|connect)|unable to contact|wrong password|requires a password")

_PHRASES: Sequence[tuple[str, str]] = (
    (r'\bconnected to manager (\S+) via', r'connected to the driver at \1; Ctrl-C ends this worker'),
    (r'disconnected from manager (\S+)', r'the driver at \1 has gone, or let this worker go'),
    (
        r'wrong password for manager (\S+)',
        r'the driver at \1 does not take the password of this worker (see --password-file)',
    ),
    (
        r'this manager requires a password',
        'the driver wants a password: give the same --password-file as the driver, or only -M, the name of the search',
    ),
    (r"couldn't resolve hostname (\S+)", r'Work Queue cannot resolve the host name \1'),
    (r"couldn't connect to (\S+): (.*)", r'Work Queue cannot connect to \1: \2'),
    (r'unable to contact catalog server at (\S+?):-1$', r'Work Queue cannot reach the catalog server at \1'),
    (r'stopping: abort signal received', 'this worker ends'),
    (r'stopping: no other managers available', 'no driver to work for any more; this worker ends'),
    (r'stopping: (.*)', r'this worker ends: \1'),
    (r'(creating|deleting) workspace', ''),
    (r'using \d+ cores', ''),
)


def unstamped(line: bytes) -> str:
    """Read a line that a program of the engine has printed, without date and process."""
    return _STAMP.sub('', line.decode('utf-8', 'replace').strip())


def rephrase(line: str) -> str:
    """Say what the engine's worker says in words that tell what to do; empty for what nobody needs."""
    for pattern, phrase in _PHRASES:
        match = re.search(pattern, line)
        if match:
            return match.expand(phrase) if phrase else ''
    return line.strip()


class WorkerOutput:
    """Reads the terminal that an engine's worker prints to.

    Parameters
    ----------
    number : int
        The terminal's other end.
    say : callable
    watch : Watch, optional
        To be told whether the worker is connected.
    """

    def __init__(self, number: int, say: Callable[[str], None], watch: Watch | None = None) -> None:
        self._number = number
        self._say = say
        self._watch = watch
        self._rest = b''
        self._last = time.monotonic()
        self._arrived = ''  # of a connection that may not last
        self._connected = False
        self._told: dict[str, float] = {}

    def fileno(self) -> int:
        return self._number

    def read(self) -> bool:
        """Pass on what is there; return whether anything was, or may still come."""
        try:
            received = os.read(self._number, 2**16)
        except OSError:  # how the end of a terminal is told
            received = b''
        self._last = time.monotonic()
        *lines, self._rest = (self._rest + received).split(b'\n')
        for line in lines:
            self._take(line)
        return bool(received)

    def settle(self) -> None:
        """Pass on half a line to which nothing was added for a while: some of the engine's words end without a newline."""
        if time.monotonic() < self._last + _SETTLED:
            return
        if self._rest:
            line, self._rest = self._rest, b''
            self._take(line)
        self._arrive()

    def close(self) -> None:
        """Pass on all that is left."""
        while self.read():
            pass
        self._last = -math.inf
        self.settle()

    def _take(self, line: bytes) -> None:
        text = unstamped(line)
        if _TROUBLE.search(text):
            self._arrived = ''
            self._set(False)
            self._tell(text, _AGAIN)
        elif _DISCONNECTED.search(text):
            self._arrive()
            if self._connected:
                self._tell(text)
            self._set(False)
        elif _CONNECTED.search(text):
            self._arrived = text
        else:
            self._tell(text)

    def _arrive(self) -> None:
        """The worker is connected, and was not refused meanwhile."""
        if self._arrived:
            text, self._arrived = self._arrived, ''
            self._set(True)
            self._tell(text)

    def _set(self, connected: bool) -> None:
        self._connected = connected
        if self._watch is not None:
            self._watch.note(connected)

    def _tell(self, text: str, pause: float = 0.0) -> None:
        said, now = rephrase(text), time.monotonic()
        if said and now >= self._told.get(said, 0.0):
            self._told[said] = now + pause
            self._say(said)
