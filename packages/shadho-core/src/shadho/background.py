"""A search that runs in a thread, while its script or notebook goes on."""

from __future__ import annotations

import atexit
import html
import logging
import math
import threading
import time
from collections.abc import Callable

from shadho.interrupts import Interrupts
from shadho.records import Trial, TrialState
from shadho.result import SearchResult, format_counts, name_of_loss
from shadho.search import Search
from shadho.words import format_loss, format_params, html_table, printable

__all__ = ['BackgroundRun']

log = logging.getLogger('shadho')

_PATIENCE = 30.0
"""Seconds that an interpreter that ends waits for its searches: chosen, more than the end of any backend takes."""


_SLICE = 0.5
"""Seconds of waiting at a time: a signal that comes just before a thread begins to wait is handled when it wakes."""


class BackgroundRun:
    """A search that runs in the background: ``Shadho.run(background=True)`` returns one.

    The search ends with the interpreter: it is then stopped as by `stop`. A script that has nothing else to do calls `wait`.
    Ctrl-C and SIGTERM are the program's own meanwhile; Ctrl-C in `wait` ends the waiting, not the search.

    Notes
    -----
    The thread is a daemon, lest it keep the interpreter from ending; an exit handler stops the search and waits for that, so
    that its storage is closed and no process of a trial is left behind. It waits for 30 s at most, as the backend ``inline``
    cannot end its trial, and the log is whole at any moment.
    """

    def __init__(self, exp_key: str, run: Callable[[Interrupts, Callable[[Search], None]], SearchResult]) -> None:
        self.exp_key = exp_key
        self._run = run
        self._interrupts = Interrupts()
        self._search: Search | None = None
        self._result: SearchResult | None = None
        self._error: BaseException | None = None
        # SciPy imports it, perhaps only when the interpreter is ending, when that fails.
        import concurrent.futures.thread  # noqa: F401

        self._over = threading.Event()  # a thread whose join() was interrupted counts as ended in Python 3.11 and older
        threading.Thread(target=self._follow, daemon=True, name='shadho-search').start()
        atexit.register(self._stop_at_exit)
        if self._over.is_set():  # already, perhaps before that
            atexit.unregister(self._stop_at_exit)

    @property
    def is_running(self) -> bool:
        """Whether the search has not ended yet."""
        return not self._over.is_set()

    @property
    def best(self) -> Trial | None:
        """The best trial so far; None before any is done."""
        return None if self._search is None else self._search.best

    def wait(self, timeout: float | None = None) -> SearchResult:
        """Wait for the end of the search.

        Parameters
        ----------
        timeout : float, optional
            Seconds; without, as long as it takes.

        Returns
        -------
        SearchResult

        Raises
        ------
        TimeoutError
            When the search still runs after that time; it goes on.
        Exception
            What ended the search, if it was an error: what `Shadho.run` raises.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self._over.wait(max(0.0, min(until - time.monotonic(), _SLICE))):
            if time.monotonic() >= until:
                raise TimeoutError(
                    f'the search {self.exp_key!r} still runs after {timeout:g} s; wait() again, or stop() it'
                )
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def stop(self) -> SearchResult:
        """End the search as Ctrl-C does, and return its result.

        Trials that run are ended, and run again when the search goes on; of the backend ``inline``, which cannot, the running
        one is waited for.

        Raises
        ------
        Exception
            As `wait`.
        """
        self._interrupts.ask()
        return self.wait()

    def _follow(self) -> None:
        try:
            self._result = self._run(self._interrupts, self._begin)
        except BaseException as error:
            self._error = error
            log.error(
                'the search %s in the background ended with %s: %s; wait() raises it',
                printable(self.exp_key), type(error).__name__, printable(error),
            )  # fmt: skip
        finally:
            self._over.set()
            atexit.unregister(self._stop_at_exit)

    def _begin(self, search: Search) -> None:
        self._search = search

    def _stop_at_exit(self) -> None:
        self._interrupts.ask()
        self._over.wait(_PATIENCE)

    def __repr__(self) -> str:
        return f'<BackgroundRun of {self.exp_key!r}: {self._state()}>'

    def _state(self) -> str:
        """Say how far the search is; other threads may ask at any time."""
        if self._error is not None:
            return printable(f'{type(self._error).__name__}: {self._error}')
        state = 'running' if self.is_running else 'ended'
        search = self._search
        if search is None:
            return state
        counts = format_counts(
            len(search.history),
            search.history.states[TrialState.FAILED],
            len(search.pending),
            len(search.ledger.paused),
        )
        best = search.best
        name = name_of_loss(search.loss_key, search.direction)
        return f'{state}; {counts}' + (f', best {name} {format_loss(best.loss)}' if best is not None else '')

    def _repr_html_(self) -> str:
        """Show how far the search is, and the best trial, in a notebook; at its end, its result."""
        if self._result is not None:
            return self._result._repr_html_()
        best = self.best
        table = '' if best is None else html_table(['best trial', f'{best.id}'], format_params(best.params))
        return f'<p>{html.escape(repr(self)[1:-1])}</p>{table}'
