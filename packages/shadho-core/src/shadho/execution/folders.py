"""The folders of trials, which carry checkpoints from one attempt to the next."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import os
import shutil
from pathlib import Path

from shadho.ledger import Ledger
from shadho.records import Trial

__all__ = ['Folders', 'folders_in', 'folders_of', 'size_of']

log = logging.getLogger('shadho')

_Entry = tuple[float, float, int]
"""The steps of a paused trial, its negated minimised loss, and its id: the least is removed first."""


class Folders:
    """A folder for each trial, by its id: those of trials that may go on are kept, and that of the best.

    A folder that a paused trial has to give up is removed by `remove`, once the log says so.

    Parameters
    ----------
    root : Path
        Created by the first trial that accesses its folder.
    ledger : Ledger
    best : Trial or None
        The best trial of earlier runs, whose folder is removed once a better one has ended.
    most : int or None
        Upper bound on the bytes in the folders of paused trials; None for no bound.

    Notes
    -----
    A folder is measured once, when its trial is paused. The other methods but `tidy` take time logarithmic in the number of
    paused trials.
    """

    def __init__(self, root: Path, ledger: Ledger, best: Trial | None, most: int | None = None) -> None:
        self.root = root
        self.ledger = ledger
        self.most = math.inf if most is None else most
        self._kept = best.id if best is not None and best.is_finished else None
        self._total = 0
        self._worst: list[_Entry] = []  # heap, with the entries of trials that have gone on since
        self._measured: dict[int, tuple[_Entry, int]] = {}  # of paused trials: entries, and bytes of their folders
        self._given_up: list[int] = []

    def path(self, trial: int) -> Path:
        """Return the place of a trial's folder."""
        return self.root / str(trial)

    def tidy(self) -> None:
        """Remove what a driver that was killed has left, and measure the folders of paused trials."""
        if not self.ledger.history.asked:
            _set_aside(self.root)
        lost = self.ledger.without_folder
        for number, path in folders_in(self.root):
            is_needed = number in self.ledger.paused or number in self.ledger.pending or number == self._kept
            if number in lost or not is_needed:
                shutil.rmtree(path, ignore_errors=True)
        for trial in self.ledger.paused.values():
            if trial.id not in lost:
                self.rest(trial)

    def rest(self, trial: Trial) -> None:
        """Measure the folder of a trial that has just been paused, if there is a bound."""
        if self.most == math.inf or not self.path(trial.id).is_dir():
            return
        loss = self.ledger.goal.minimised(trial.loss)
        entry, size = (trial.reach, -math.inf if math.isnan(loss) else -loss, trial.id), size_of(self.path(trial.id))
        self._measured[trial.id] = entry, size
        self._total += size
        heapq.heappush(self._worst, entry)

    def resume(self, trial: int) -> None:
        """Count the folder of a trial no longer, as it goes on."""
        _, size = self._measured.pop(trial, (None, 0))
        self._total -= size

    @property
    def exceed(self) -> bool:
        """Whether the folders of paused trials take more than the bound."""
        return self._total > self.most

    def make_room(self, best: Trial | None) -> list[int]:
        """Give up the folders of the worst paused trials until the rest is within the bound; return the ids of these trials."""
        given_up, spared = [], []
        while self.exceed and self._worst:
            entry = heapq.heappop(self._worst)
            number = entry[-1]
            if self._measured.get(number, (None, 0))[0] != entry:  # the trial has gone on
                continue
            if best is not None and number == best.id:
                spared.append(entry)
                continue
            self.give_up(number)
            given_up.append(number)
        for entry in spared:
            heapq.heappush(self._worst, entry)
        return given_up

    def give_up(self, trial: int) -> None:
        """Let the next `remove` remove the folder of a trial."""
        self.resume(trial)
        self._given_up.append(trial)

    def remove(self) -> None:
        """Remove the folders that were given up; by now the log says that they are gone."""
        for trial in self._given_up:
            shutil.rmtree(self.path(trial), ignore_errors=True)
        self._given_up.clear()

    def close(self) -> None:
        """Remove the parent of the folders if it is empty; not earlier, as a trial may be about to create its own there."""
        with contextlib.suppress(OSError):
            self.root.rmdir()

    def clean(self, ended: int, best: Trial | None) -> None:
        """Remove the folders that are no longer needed after a trial has ended."""
        number = None if best is None else best.id
        former, self._kept = self._kept, ended if number == ended else self._kept
        for trial in {ended, ended if former is None else former} - {number}:
            shutil.rmtree(self.path(trial), ignore_errors=True)


def folders_of(storage: Path) -> Path:
    """Return the parent of the folders of trials of a search, by the path of its storage."""
    return storage.with_name(f'{storage.stem}-folders')


def folders_in(root: Path) -> list[tuple[int, Path]]:
    """Return the ids and folders of trials, in the order of ids."""
    if not root.is_dir():
        return []
    return sorted((int(path.name), path) for path in root.iterdir() if path.name.isdecimal() and path.is_dir())


def size_of(folder: Path) -> int:
    """Return the number of bytes in the files of a folder; those that vanish meanwhile do not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except OSError:
                continue
    return total


def _set_aside(root: Path) -> None:
    """Rename the folder that an earlier search of the same name has left, as a trial would take what it finds for its own."""
    if not folders_in(root):
        return
    aside = next(path for path in (root.with_name(f'{root.name}-{n}') for n in itertools.count(1)) if not path.exists())
    root.rename(aside)
    log.warning('%s holds folders of an earlier search, whose storage is gone; they are in %s now', root, aside)
