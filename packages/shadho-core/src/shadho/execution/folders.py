"""The folders of trials, which carry checkpoints from one attempt to the next."""

from __future__ import annotations

import shutil
from pathlib import Path

from shadho.records import Trial

__all__ = ['Folders']


class Folders:
    """A folder for each trial, by its id; those of trials that have ended are removed, except that of the best.

    Parameters
    ----------
    root : Path
        Created by the first trial that accesses its folder.
    best : Trial or None
        The best trial of earlier runs, whose folder is removed once a better one has ended.
    """

    def __init__(self, root: Path, best: Trial | None) -> None:
        self.root = root
        self._kept = best.id if best is not None and best.is_finished else None

    def clean(self, ended: int, best: Trial | None) -> None:
        """Remove the folders that are no longer needed after a trial has ended."""
        number = None if best is None else best.id
        former, self._kept = self._kept, ended if number == ended else self._kept
        for trial in {ended, former} - {None, number}:
            shutil.rmtree(self.root / str(trial), ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()
