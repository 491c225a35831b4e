"""Ctrl-C and SIGTERM: a search ends between two steps, never in the middle of one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ['Interrupts']

T = TypeVar('T')


class Interrupts:
    """Holds Ctrl-C and SIGTERM back while it is entered, except while the search waits.

    Only the main thread gets signals, so that a search in another one is asked by `ask`. A second signal is not held back, wherever the search is: Ctrl-C raises KeyboardInterrupt, and SIGTERM SystemExit.

    Attributes
    ----------
    name : str
        'interrupted' or 'terminated' once there was a signal; empty before.
    """

    _NAMES = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'terminated'}

    def __init__(self) -> None:
        self.name = ''
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self._NAMES:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):  # as nohup and shells' jobs want it
                    self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        again = bool(self.name)
        self.name = self._NAMES[signal.Signals(number)]
        if again:
            self.exit_when_terminated()
        if self._waiting or again:
            raise KeyboardInterrupt

    def ask(self) -> None:
        """Ask for the end as Ctrl-C does, from another thread: a search that waits looks within a second."""
        self.name = self.name or 'interrupted'

    def wait(self, function: Callable[[], T], otherwise: T) -> T:
        """Call a function that waits; a signal ends it early, and `otherwise` is returned."""
        try:
            self._waiting = True
            return otherwise if self.name else function()
        except KeyboardInterrupt:
            self.name = self.name or 'interrupted'
            return otherwise
        finally:
            self._waiting = False

    def exit_when_terminated(self) -> None:
        """End the process as SIGTERM asked, with the status that shells give such an end."""
        if self.name == 'terminated':
            sys.exit(128 + signal.SIGTERM)
