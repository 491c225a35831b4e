"""Progress for people: a live panel on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import os
import sys

from shadho.live.lines import PlainDisplay
from shadho.streams import is_terminal

__all__ = ['make_display']


def make_display() -> PlainDisplay:
    """Return the display that suits a notebook, or standard error."""
    if _in_notebook():
        from shadho.live.notebook import NotebookDisplay

        return NotebookDisplay()
    if is_terminal(sys.stderr) and os.environ.get('TERM') not in ('dumb', 'unknown'):
        from shadho.live.terminal import LiveDisplay

        return LiveDisplay()
    return PlainDisplay()


def _in_notebook() -> bool:
    """Whether this is the process of a notebook's kernel; libraries may load its modules anywhere."""
    ipython = sys.modules.get('IPython')
    shell = getattr(ipython, 'get_ipython', lambda: None)()
    return getattr(shell, 'kernel', None) is not None
