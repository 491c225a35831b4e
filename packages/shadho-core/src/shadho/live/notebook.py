"""Progress in a notebook: one output of the cell, which is replaced again and again."""

from __future__ import annotations

import io
import threading
from typing import Any

from rich.console import Console

from shadho.live.panel import PanelDisplay
from shadho.plugins.hookspecs import hookimpl
from shadho.result import SearchResult

__all__ = ['NotebookDisplay']

_EVERY = 0.5
"""Seconds between two drawings."""

_FORMAT = '<pre style="line-height: 1.2; font-family: Menlo, Consolas, \'DejaVu Sans Mono\', monospace">{code}</pre>'


class NotebookDisplay(PanelDisplay):
    """A panel below the cell, in whose place comes the summary."""

    def __init__(self) -> None:
        super().__init__(
            Console(file=io.StringIO(), width=104, height=self.HEIGHT, force_jupyter=False, color_system='truecolor')
        )
        self._over = threading.Event()
        self._drawing = threading.Thread(target=self._draw_again, daemon=True)

    def begin(self) -> None:
        self._output: Any = _ipython().display(self._page(), display_id=True)
        self._drawing.start()

    def end(self) -> None:
        self._over.set()
        self._drawing.join()

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        self.end()
        self._output.update(self._page(result.ending()))

    def _draw_again(self) -> None:
        while not self._over.wait(_EVERY):
            self._output.update(self._page())

    def _page(self, text: str | None = None) -> Any:
        """Draw the panel, or a text, as HTML."""
        page = Console(
            file=io.StringIO(), width=self.console.width, record=True, force_jupyter=False, markup=False, emoji=False,
            highlight=False,
        )  # fmt: skip
        if text is None:
            page.print(self.headline(), style='bold')
            page.print(self.panel())
        else:
            page.print(text, soft_wrap=True)
        return _ipython().HTML(page.export_html(inline_styles=True, code_format=_FORMAT))


def _ipython() -> Any:
    from IPython import display  # which says that it has types, and has few

    return display
