"""The folders of trials, in which they leave what their next attempts begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

from shadho.records import Trial

__all__ = ['Folders']


class Folders:
    """A folder for each trial, by its number; those of trials that have ended go, except that of the best.

    Parameters
    ----------
    root : Path
        Made by the first trial that asks for its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: int | None = None

    def clean(self, ended: int, best: Trial | None) -> None:
        """Remove what is not needed any more after a trial has ended."""
        number = None if best is None else best.id
        former, self._kept = self._kept, ended if number == ended else self._kept
        for trial in {ended, former} - {None, number}:
            shutil.rmtree(self.root / str(trial), ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()
