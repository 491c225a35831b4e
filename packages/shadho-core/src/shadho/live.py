"""Progress for people: a live panel on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from shadho.plugins.hookspecs import hookimpl
from shadho.records import ComputeClass, Trial, TrialState
from shadho.result import (
    SearchInfo,
    SearchResult,
    format_best,
    format_counts,
    format_price,
    format_request,
    format_seconds,
    format_shares,
)
from shadho.scheduling import ClassPlan

if TYPE_CHECKING:
    from rich.console import Console, ConsoleRenderable, RenderableType
    from rich.live import Live


__all__ = ['LiveDisplay', 'PlainDisplay', 'make_display']


def make_display() -> PlainDisplay:
    """Return the display that suits standard error."""
    is_terminal = sys.stderr.isatty() and os.environ.get('TERM') not in ('dumb', 'unknown')
    return LiveDisplay() if is_terminal or _in_notebook() else PlainDisplay()


def _in_notebook() -> bool:
    return 'ipykernel' in sys.modules


class PlainDisplay:
    """A line when the search begins, one every few seconds, and the summary at its end.

    Parameters
    ----------
    interval : float, default 10.0
        Seconds between lines.
    """

    FAILURES = 3
    """Failed trials that are told of: the first ones here, the latest ones in the live panel."""

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval
        self.running: Counter[str] = Counter()
        self.finished: Counter[TrialState] = Counter()
        self.per_class: Counter[str] = Counter()
        self.recent: deque[float] = deque(maxlen=200)
        self.failures: deque[Trial] = deque(maxlen=self.FAILURES)
        self.classes: Sequence[ComputeClass] = ()
        self.plans: dict[str, ClassPlan] = {}
        self.best: Trial | None = None
        self.line_at = time.monotonic()

    @hookimpl
    def shadho_plan_changed(self, classes: Sequence[ComputeClass], placement: Sequence[ClassPlan]) -> None:
        self.classes = classes
        self.plans = {own.name: own for own in placement}

    @hookimpl
    def shadho_search_started(self, search: SearchInfo) -> None:
        self.info = search
        self.classes = search.classes
        self.best = search.best
        self.begun = search.now()
        self.recent.append(self.begun)
        self.recorded = search.recorded
        self.begin()

    @hookimpl
    def shadho_trial_dispatched(self, trial: Trial) -> None:
        self.running[trial.compute_class] += 1

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        self.running[trial.compute_class] -= 1
        self.finished[trial.state] += 1
        self.per_class[trial.compute_class] += 1
        self.recent.append(self.info.now())
        if trial.state is TrialState.FAILED:
            self.failures.append(trial)
            self.tell_failure(trial)
        elif self._is_better(trial):
            self.best = trial
        self.tick()

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        self.end()
        print(result.summary(), file=sys.stderr, flush=True)

    def _is_better(self, trial: Trial) -> bool:
        if self.best is None or self.best.loss is None or trial.loss is None:
            return True
        sign = -1 if self.info.direction == 'maximize' else 1
        return sign * trial.loss < sign * self.best.loss

    # --- what the two displays show --------------------------------------------------------------

    def headline(self) -> str:
        """Say what is searched, how and where."""
        info = self.info
        trees = f'{info.forest.count:,} tree{"s" if info.forest.count != 1 else ""}'
        classes = (
            '; '.join(f'{own.name} x {own.slots}, {format_request(own)} each' for own in self.classes)
            or 'no workers yet'
        )
        resumed = f', going on after {_trials(self.recorded)}' if self.recorded else ''
        return f'{info.exp_key}: {trees}, method {info.method}, policy {info.policy}, {info.backend} backend ({classes}){resumed}'

    def counts(self) -> str:
        """Say how many trials are finished, failed and running; those of earlier runs count as finished."""
        total = self.recorded + sum(self.finished.values())
        failed = self.info.failed + self.finished[TrialState.FAILED]
        return format_counts(total, failed, sum(self.running.values()), self.info.limit)

    def rate(self) -> float:
        """Return trials per second, of late."""
        span = self.info.now() - self.recent[0]
        return (len(self.recent) - 1) / span if span > 0 else 0.0

    def remaining(self) -> float | None:
        """Return seconds until the nearer limit, as far as it can be told."""
        limits = []
        if self.info.timeout is not None:
            limits.append(self.begun + self.info.timeout - self.info.now())
        if self.info.limit is not None and self.rate() > 0:
            left = self.info.limit - self.recorded - sum(self.finished.values())
            limits.append(left / self.rate())
        return max(0.0, min(limits)) if limits else None

    def best_line(self, limit: int = 200) -> str:
        """Say which trial is best, with its parameters in at most `limit` characters."""
        return format_best(self.best, limit)

    # --- plain lines -------------------------------------------------------------------------------

    def begin(self) -> None:
        _print(self.headline())

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.line_at >= self.interval:
            self.line_at = now
            left = self.remaining()
            rest = f', {format_seconds(left)} left' if left is not None else ''
            _print(f'{self.counts()}, {_rate(self.rate())}{rest}; {self.best_line()}')

    def tell_failure(self, trial: Trial) -> None:
        told = self.finished[TrialState.FAILED]
        if told <= self.FAILURES:
            more = '; the summary counts any others' if told == self.FAILURES else ''
            _print(_failure(trial) + more)

    def end(self) -> None:
        pass


class LiveDisplay(PlainDisplay):
    """A panel that is drawn anew a few times a second, below all that is printed meanwhile.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default.
    """

    WIDTH = 100
    """Columns of the panel, at most."""

    CLASSES = 8
    """Compute classes shown, at most."""

    HEIGHT = 24
    """Rows of the terminal below which the panel is brief: a taller one could not be erased."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        from rich.console import Console

        self.console = console or Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._log_handlers: list[logging.StreamHandler[Any]] = []

    def begin(self) -> None:
        self.console.print(self.headline(), style='bold')
        log_handlers = _handlers_of(sys.stderr)
        self.live = _make_live(self.console, self.panel)
        self.live.start()
        for handler in log_handlers:
            handler.setStream(sys.stderr)
        self._log_handlers = log_handlers
        atexit.register(self.end)  # should the search end without a word, the cursor comes back

    def tick(self) -> None:
        pass

    def tell_failure(self, trial: Trial) -> None:
        pass

    def end(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # the start of a line would be lost when the redirection ends
        self.live.stop()
        for handler in self._log_handlers:
            handler.setStream(sys.stderr)
        atexit.unregister(self.end)

    def panel(self) -> RenderableType:
        """Draw the state of the search."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        width = min(self.console.width - len('^C^C'), self.WIDTH)  # which is echoed behind the panel's end
        lines = [*self._course(width), self._best(width)]
        if self.console.height >= self.HEIGHT:
            lines[-1:-1] = [self._classes(width)]
            lines += self._failures()
        title = Text(self.info.exp_key, style='bold not dim', overflow='ellipsis', no_wrap=True)
        return Panel(Group(*lines), title=title, title_align='left', width=width, border_style='dim')

    def _course(self, width: int) -> Iterator[RenderableType]:
        """Draw how far the search is."""
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        elapsed, left = self.info.now() - self.begun, self.remaining()
        counts = f'{self.counts()}, {_rate(self.rate())}'
        times = f'{format_seconds(elapsed)} elapsed' + (f', {format_seconds(left)} left' if left is not None else '')
        if len(counts) + len(times) + 6 <= width:
            line = Table.grid('', Column(justify='right'), expand=True)
            line.add_row(counts, times)
            yield line
        else:
            yield from (counts, times)
        share = self._progress()
        line = Table.grid(expand=True)  # a bar by itself does not end its line
        line.add_row(ProgressBar(1.0, share or 0.0, pulse=share is None, complete_style='cyan', finished_style='cyan'))
        yield line

    def _progress(self) -> float | None:
        """Return the share of the nearer limit that is used up."""
        shares = []
        if self.info.limit is not None:
            shares.append((self.recorded + sum(self.finished.values())) / self.info.limit)
        if self.info.timeout is not None:
            shares.append((self.info.now() - self.begun) / self.info.timeout)
        return min(1.0, max(shares)) if shares else None

    def _classes(self, width: int) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style='dim')
        table.add_column('compute class', overflow='ellipsis', no_wrap=True)
        table.add_column('busy', justify='right', no_wrap=True)
        table.add_column('finished', justify='right', no_wrap=True)
        if width >= 60:
            if self.plans:
                table.add_column('+1 slot', justify='right', no_wrap=True)
            table.add_column('trees by their time' if self.plans else 'hardware', overflow='ellipsis', no_wrap=True)
        for own in self.classes[: self.CLASSES]:
            busy = f'{self.running[own.name]}/{own.slots}'
            row = [own.name, busy, f'{self.per_class[own.name]:,}']
            plan = self.plans.get(own.name)
            row += [format_price(plan.price) if plan is not None and plan.price > 0 else '-'] if self.plans else []
            row.append(str(own.hardware) if plan is None else format_shares(plan, self.info.forest))
            table.add_row(*row[: len(table.columns)])
        if len(self.classes) > self.CLASSES:
            table.add_row(f'and {len(self.classes) - self.CLASSES} more')
        return table

    def _best(self, width: int) -> RenderableType:
        """Draw the best trial, in about three lines at most."""
        from rich.text import Text

        return Text(self.best_line(max(3 * width - 60, 20)), style='green', overflow='fold')

    def _failures(self) -> Iterator[RenderableType]:
        from rich.text import Text

        for trial in list(self.failures):
            yield Text(_failure(trial), style='red', overflow='ellipsis', no_wrap=True)


def _make_live(console: Console, panel: Callable[[], RenderableType]) -> Live:
    from rich.live import Live

    class ReflowingLive(Live):
        """Erases the whole panel also when the terminal has become narrower and wrapped its lines."""

        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            drawn = self._live_render._shape
            if drawn is not None:
                width, height = drawn
                self._live_render._shape = (width, height * math.ceil(width / self.console.width))
            return super().process_renderables(renderables)

    return ReflowingLive(
        console=console,
        get_renderable=panel,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what objectives print stays in the file it was sent to
    )


def _handlers_of(stream: TextIO) -> list[logging.StreamHandler[Any]]:
    """Return the log handlers that write to a stream, of which they hold a reference of their own."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger('shadho').handlers]
    return [own for own in handlers if isinstance(own, logging.StreamHandler) and own.stream is stream]


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _trials(count: int) -> str:
    return f'{count:,} trial{"s" if count != 1 else ""}'


def _failure(trial: Trial) -> str:
    error = trial.error
    reason = (
        '' if error is None else f' ({error.kind}: {error.message.splitlines()[0] if error.message else "no message"})'
    )
    return f'trial {trial.id} failed{reason}'


def _rate(rate: float) -> str:
    if rate >= 100:
        return f'{rate:,.0f} trials/s'
    return f'{rate:.3g} trials/s' if rate >= 1 or rate == 0 else f'{rate * 60:.3g} trials/min'
