"""The panel that shows a search: how far it is, its compute classes, the best trial, the latest failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from shadho.live.lines import PlainDisplay, describe_failure, describe_rate
from shadho.records import Trial
from shadho.result import ClassUse, format_busy, format_shares, format_worth
from shadho.words import format_seconds, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ['PanelDisplay']


class PanelDisplay(PlainDisplay):
    """A panel that is drawn anew again and again, by those who inherit.

    Parameters
    ----------
    console : rich.console.Console
        By whose size it is drawn.
    """

    LINES: float = 100
    """Chosen: more than anybody reads. For each trial that prints, the panel is drawn again, in some 4 ms."""

    WIDTH = 100
    """Columns of the panel, at most."""

    CLASSES = 8
    """Compute classes shown, at most."""

    HEIGHT = 24
    """Rows of the console below which the panel is brief: a taller one could not be erased."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def tick(self) -> None:
        pass

    def tell_failure(self, trial: Trial) -> None:
        pass

    def panel(self) -> RenderableType:
        """Draw the state of the search."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        width = min(self.console.width - len('^C^C'), self.WIDTH)  # which is echoed behind the panel's end
        lines = [*self._course(width), *self._rungs(), self._best(width)]
        if self.console.height >= self.HEIGHT:
            lines[-1:-1] = [self._classes(width)]
            lines += self._failures()
        title = Text(printable(self.info.exp_key), style='bold not dim', overflow='ellipsis', no_wrap=True)
        return Panel(Group(*lines), title=title, title_align='left', width=width, border_style='dim')

    def _course(self, width: int) -> Iterator[RenderableType]:
        """Draw how far the search is."""
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table

        elapsed, left = self.info.now() - self.begun, self.remaining()
        counts = f'{self.counts()}, {describe_rate(self.rate())}'
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
            shares.append((self.recorded + sum(self.finished.values()) + len(self.paused)) / self.info.limit)
        if self.info.timeout is not None:
            shares.append((self.info.now() - self.begun) / self.info.timeout)
        return min(1.0, max(shares)) if shares else None

    def _rungs(self) -> Iterator[RenderableType]:
        from rich.text import Text

        if line := self.rungs_line():
            yield Text(line, overflow='ellipsis', no_wrap=True)

    def _classes(self, width: int) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        has_rates, has_more = width >= 90, width >= 60
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style='dim')
        table.add_column('compute class', overflow='ellipsis', no_wrap=True, max_width=max(width // 4, 13))
        names = ['running', 'finished', *(['busy'] if has_more else []), *(['rate'] if has_rates else [])]
        for name in [*names, *(['+1 slot'] if has_more and self.plans else [])]:
            table.add_column(name, justify='right', no_wrap=True)
        if has_more:
            last = 'trees by their time' if self.plans else 'hardware'
            table.add_column(Text(last, no_wrap=True, overflow='ellipsis'))  # gives way where room is short
        rates, running, uses = self.rates(), Counter(self.running.values()), self.info.uses()
        by_name = {use.compute_class.name: use for use in uses}
        for own in self.classes[: self.CLASSES]:
            assigned = f'{min(running[own.name], own.slots)}/{own.slots}'
            row = [own.name, assigned, f'{self.per_class[own.name]:,}']
            plan = self.plans.get(own.name)
            use = attrs.evolve(by_name.get(own.name) or ClassUse(own), plan=plan)
            row += [format_busy(use)]
            row += [describe_rate(rates.get(own.name, 0.0), of='')] if has_rates else []
            row += [format_worth(use, uses)] if self.plans else []
            row.append(str(own.hardware) if plan is None else format_shares(plan, self.info.forest))
            cells = [Text(printable(cell), no_wrap=True, overflow='ellipsis') for cell in row]
            table.add_row(*cells[: len(table.columns)])
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
            yield Text(describe_failure(trial), style='red', overflow='ellipsis', no_wrap=True)
