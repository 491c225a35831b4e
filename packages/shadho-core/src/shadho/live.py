"""Progress for people: a live panel on a terminal, plain lines elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shadho.plugins.hookspecs import hookimpl
from shadho.records import ComputeClass, Trial, TrialState
from shadho.result import SearchResult, format_params, format_seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from shadho.driver import SearchInfo

__all__ = ['LiveDisplay', 'PlainDisplay', 'make_display']


def make_display() -> PlainDisplay:
    """Return the display that suits standard error."""
    return LiveDisplay() if sys.stderr.isatty() or _in_notebook() else PlainDisplay()


def _in_notebook() -> bool:
    return 'ipykernel' in sys.modules


class PlainDisplay:
    """A line when the search begins, one every few seconds, and the summary at its end.

    Parameters
    ----------
    interval : float, default 10.0
        Seconds between lines.
    """

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval
        self.running: Counter[str] = Counter()
        self.finished: Counter[TrialState] = Counter()
        self.per_class: Counter[str] = Counter()
        self.recent: deque[float] = deque(maxlen=200)
        self.failures: deque[Trial] = deque(maxlen=3)
        self.classes: Sequence[ComputeClass] = ()
        self.best: Trial | None = None
        self.line_at = time.monotonic()

    @hookimpl
    def shadho_plan_changed(self, classes: Sequence[ComputeClass]) -> None:
        self.classes = classes

    @hookimpl
    def shadho_search_started(self, search: SearchInfo) -> None:
        self.info = search
        self.classes = search.classes
        self.best = search.best
        self.begun = search.now()
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
        elif self._is_better(trial):
            self.best = trial
        self.tick()

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        self.end()
        print(result.summary(), file=sys.stderr)

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
        classes = ', '.join(f'{own.name} x {own.slots}' for own in self.classes) or 'no workers yet'
        resumed = f', going on after {self.recorded} trials' if self.recorded else ''
        return f'{info.exp_key}: {trees}, method {info.method}, policy {info.policy}, {info.backend} backend ({classes}){resumed}'

    def counts(self) -> str:
        """Say how many trials are done, failed and running."""
        total = self.recorded + sum(self.finished.values())
        limit = f'/{self.info.max_tasks}' if self.info.max_tasks is not None else ''
        failed = self.finished[TrialState.FAILED]
        return f'{total}{limit} trials, {failed} failed, {sum(self.running.values())} running'

    def rate(self) -> float:
        """Return trials per second, of late."""
        if len(self.recent) < 2:
            return 0.0
        span = max(self.info.now(), self.recent[-1]) - self.recent[0]
        return len(self.recent) / span if span > 0 else 0.0

    def remaining(self) -> float | None:
        """Return seconds until the nearer limit, as far as it can be told."""
        limits = []
        if self.info.timeout is not None:
            limits.append(self.begun + self.info.timeout - self.info.now())
        if self.info.max_tasks is not None and self.rate() > 0:
            left = self.info.max_tasks - self.recorded - sum(self.finished.values())
            limits.append(left / self.rate())
        return max(0.0, min(limits)) if limits else None

    def best_line(self) -> str:
        """Say which trial is best."""
        if self.best is None:
            return 'no trial is done yet'
        params = ', '.join(f'{name}={value}' for name, value in format_params(self.best.params))
        return f'best loss {self.best.loss:.6g} (trial {self.best.id}: {params})'

    # --- plain lines -------------------------------------------------------------------------------

    def begin(self) -> None:
        print(self.headline(), file=sys.stderr, flush=True)

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.line_at >= self.interval:
            self.line_at = now
            left = self.remaining()
            rest = f', {format_seconds(left)} left' if left is not None else ''
            print(f'{self.counts()}, {_rate(self.rate())}{rest}; {self.best_line()}', file=sys.stderr, flush=True)

    def end(self) -> None:
        pass


class LiveDisplay(PlainDisplay):
    """A panel that is drawn anew a few times a second.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        from rich.console import Console

        self.console = console or Console(stderr=True)

    def begin(self) -> None:
        from rich.live import Live

        self.live = Live(console=self.console, get_renderable=self.panel, refresh_per_second=4, transient=True)
        self.live.start()

    def tick(self) -> None:
        pass

    def end(self) -> None:
        self.live.stop()

    def panel(self) -> RenderableType:
        """Draw the state of the search."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        elapsed, left = self.info.now(), self.remaining()
        times = f'{format_seconds(elapsed)} elapsed' + (f', {format_seconds(left)} left' if left is not None else '')
        bar = ProgressBar(total=1.0, completed=self._progress() or 0.0, pulse=self._progress() is None)
        lines: list[RenderableType] = [
            Text(f'{self.counts()}   {_rate(self.rate())}   {times}', overflow='ellipsis', no_wrap=True),
            bar,
            self._class_table(),
            Text(self.best_line(), style='green', overflow='fold'),
        ]
        for trial in self.failures:
            reason = '' if trial.error is None else f'{trial.error.kind}: {trial.error.message}'.partition('\n')[0]
            lines.append(Text(f'trial {trial.id} failed ({reason})', style='red', overflow='ellipsis', no_wrap=True))
        return Panel(Group(*lines), title=_markup_safe(self.headline()), title_align='left')

    def _progress(self) -> float | None:
        """Return the share of the nearer limit that is used up."""
        shares = []
        if self.info.max_tasks is not None:
            shares.append((self.recorded + sum(self.finished.values())) / self.info.max_tasks)
        if self.info.timeout is not None:
            shares.append((self.info.now() - self.begun) / self.info.timeout)
        return min(1.0, max(shares)) if shares else None

    def _class_table(self) -> RenderableType:
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), header_style='bold')
        for name in ('compute class', 'busy', 'finished', 'hardware'):
            table.add_column(name, justify='left' if name in ('compute class', 'hardware') else 'right')
        for own in self.classes:
            busy = f'{self.running[own.name]}/{own.slots}'
            table.add_row(own.name, busy, str(self.per_class[own.name]), str(own.hardware))
        return table


def _rate(rate: float) -> str:
    return f'{rate:.3g} trials/s' if rate >= 1 or rate == 0 else f'{rate * 60:.3g} trials/min'


def _markup_safe(text: str) -> Any:
    from rich.text import Text

    return Text(text, overflow='ellipsis', no_wrap=True)
