"""Progress on a terminal: a panel below all that is printed meanwhile, on standard error."""

from __future__ import annotations

import atexit
import logging
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from shadho.live.panel import PanelDisplay
from shadho.streams import is_terminal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleRenderable, RenderableType
    from rich.live import Live

__all__ = ['LiveDisplay']


class LiveDisplay(PanelDisplay):
    """A panel that is drawn anew a few times a second, below all that is printed meanwhile.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        super().__init__(console or Console(stderr=True, markup=False, emoji=False, highlight=False))
        self._log_handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        if not is_terminal(sys.stdout):  # it leads past the panel
            self.LINES = math.inf

    def begin(self) -> None:
        self.console.print(self.headline(), style='bold')
        log_handlers = _handlers_of(sys.stderr)
        self.live = _make_live(self.console, self.panel)
        self.live.start()
        for handler, _ in log_handlers:
            handler.setStream(sys.stderr)
        self._log_handlers = log_handlers
        atexit.register(self.end)  # should the search end without a word, the cursor comes back

    def end(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # the start of a line would be lost when the redirection ends
        self.live.stop()
        for handler, stream in self._log_handlers:
            handler.setStream(stream)
        atexit.unregister(self.end)


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
        redirect_stdout=is_terminal(sys.stdout),  # what objectives print stays in the file it was sent to
    )


def _handlers_of(stream: TextIO) -> list[tuple[logging.StreamHandler[Any], Any]]:
    """Return the log handlers that write to a stream, and their own references to it."""
    handlers = [*logging.getLogger().handlers, *logging.getLogger('shadho').handlers]
    same = (stream, getattr(stream, 'stream', stream))  # the second where it replaces another
    return [(own, own.stream) for own in handlers if isinstance(own, logging.StreamHandler) and own.stream in same]
