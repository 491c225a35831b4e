"""What a search does now, or has done, from what its storage holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from shadho.cluster import Cluster
from shadho.forest import Forest
from shadho.records import ComputeClass, Trial, TrialState, Worker, to_plain
from shadho.report.recorded import check_trees, columns, unfinished
from shadho.result import (
    ClassUse,
    describe_bound,
    format_best,
    format_busy,
    format_counts,
    format_rungs,
    name_of_loss,
    read_finished,
)
from shadho.resume import identity_of
from shadho.spaces import spec
from shadho.storage import LogIndex, Storage
from shadho.words import counted, format_seconds, printable, shorten
from shadho_worker import jsonable

__all__ = ['Status', 'look_at']


@attrs.frozen(eq=False)
class Status:
    """What a search does now.

    Attributes
    ----------
    exp_key : str
    writer : str or None
        The process that runs the search; None when none does.
    seconds : float
        Of active search, all runs together.
    finished, failed, paused : int
        Trials that have ended or are paused, and how many of them failed or are paused.
    best : Trial or None
    loss_name : str
        What people call the value that is optimised, such as 'accuracy'.
    classes : list of ComputeClass
        Of the latest run, as they were last.
    uses : list of ClassUse
        How these have been used in that run: while it goes on, as if they had had their slots all along.
    workers : list of Worker
        Those that are connected now, where the backend knows them one by one.
    running : list of Trial
        Those that run now, the first to start first.
    waiting : list of Trial
        Those that ran and did not finish, and are to run again first: they were cancelled, their
        worker vanished, or the process that ran the search did.
    forest : Forest
    rungs : dict of int to int
        How many trials have reached each rung; empty where the fidelity has none.
    """

    exp_key: str
    writer: str | None
    seconds: float
    finished: int
    failed: int
    paused: int
    best: Trial | None
    loss_name: str
    classes: list[ComputeClass]
    uses: list[ClassUse]
    workers: list[Worker]
    running: list[Trial]
    waiting: list[Trial]
    forest: Forest
    rungs: dict[int, int] = attrs.field(factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether a process runs the search."""
        return self.writer is not None

    def assigned(self) -> Counter[str]:
        """Return how many slots of each class have a trial now."""
        running = Counter(trial.compute_class for trial in self.running)
        return Counter({own.name: min(running[own.name], own.slots) for own in self.classes})

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain data, for JSON."""
        assigned, places, best = self.assigned(), self._places(), self.best
        shares = {use.compute_class.name: use.utilisation for use in self.uses if use.assigned_seconds}
        return {
            'exp_key': self.exp_key,
            'writer': self.writer,
            'seconds': self.seconds,
            'finished': self.finished,
            'failed': self.failed,
            'paused': self.paused,
            'running': len(self.running),
            'waiting': len(self.waiting),
            'rungs': [{'step': step, 'trials': count} for step, count in self.rungs.items()],
            'best': None if best is None else jsonable({'trial': best.id, 'loss': best.loss, 'params': best.params}),
            'classes': [
                {**to_plain(own), 'running': assigned[own.name], 'busy': shares.get(own.name)} for own in self.classes
            ],
            'workers': [to_plain(own) for own in self.workers],
            'trials': [
                {
                    'trial': trial.id,
                    'tree': self._label(trial),
                    'compute_class': trial.compute_class,
                    'worker': places.get(trial.id),
                    'seconds': self._age(trial),
                }
                for trial in self.running
            ],
        }

    def to_table(self, limit: int = 50) -> str:
        """Return a text for people, with at most `limit` rows in each table."""
        blocks = [self._head(), self._class_table(limit), self._worker_table(limit), self._trial_table(limit)]
        return '\n\n'.join('\n'.join(map(printable, block)) for block in blocks if block)

    def _head(self) -> list[str]:
        state = f'running ({self.writer})' if self.is_running else 'not running'
        lines = [
            f'{self.exp_key}: {state}, {format_seconds(self.seconds)} of search',
            format_counts(self.finished, self.failed, len(self.running), self.paused),
            *([format_rungs(self.rungs)] if self.rungs else []),
            format_best(self.best, self.loss_name),
        ]
        if self.waiting:
            some = counted(len(self.waiting), 'trial')
            when = 'as soon as there is a slot' if self.is_running else 'first when the search goes on'
            lines.append(f'{some} did not finish, and will run again {when}')
        if self.is_running and not self.classes:
            lines.append('no workers yet')
        return lines

    def _class_table(self, limit: int) -> list[str]:
        assigned, shares = self.assigned(), {use.compute_class.name: format_busy(use) for use in self.uses}
        rows = [
            {
                'compute class': own.name,
                'slots': str(own.slots),
                **({'running': str(assigned[own.name])} if self.is_running else {}),
                'busy': shares.get(own.name, '-'),
                'hardware': str(own.hardware),
            }
            for own in self.classes
        ]
        return [*_table(rows, limit), *describe_bound(self.uses)]

    def _worker_table(self, limit: int) -> list[str]:
        rows = [
            {
                'worker': own.name,
                'host': own.host,
                'compute class': own.compute_class,
                'slots': str(own.slots),
                'runs trials': shorten(', '.join(map(str, own.running)), 40),
            }
            for own in self.workers
        ]
        return _table(rows, limit)

    def _trial_table(self, limit: int) -> list[str]:
        places = self._places()
        rows = [
            {
                'trial': str(trial.id),
                'tree': shorten(self._label(trial), 60),
                'compute class': trial.compute_class,
                **({'worker': places.get(trial.id, '')} if places else {}),
                'for': format_seconds(self._age(trial)),
            }
            for trial in self.running
        ]
        return _table(rows, limit)

    def _places(self) -> dict[int, str]:
        """Return on which worker each trial runs, as far as that is known."""
        return {trial: own.name for own in self.workers for trial in own.running}

    def _label(self, trial: Trial) -> str:
        return self.forest.tree(trial.tree).label

    def _age(self, trial: Trial) -> float:
        return max(0.0, self.seconds - (trial.started or 0.0))


def look_at(storage: Storage) -> Status:
    """Say what a search does now, or has done.

    Parameters
    ----------
    storage : Storage
        Need not be open; may be written meanwhile.

    Raises
    ------
    StorageError
        When it holds no search, or cannot be read.
    """
    writer = storage.writer()
    known = identity_of(storage)
    forest = Forest(spec.from_outline(known['outline']))
    cluster = Cluster.of(known)
    index = storage.index()
    check_trees(forest, index)
    best = read_finished(storage, index, index.leaders(1, known['direction']))
    seconds = index.latest if writer is None else max(index.latest, cluster.seconds())
    running = unfinished(storage, forest, index, index.running)
    waiting = unfinished(storage, forest, index, index.waiting)
    paused = index.count(TrialState.PAUSED)
    if writer is None:  # what the log leaves running ended with its driver
        running, waiting = [], [*waiting, *running]
    return Status(
        exp_key=str(known['exp_key']),
        writer=writer,
        seconds=seconds,
        finished=len(index),
        failed=index.count(TrialState.FAILED),
        paused=paused,
        best=best[0] if best else None,
        loss_name=name_of_loss(str(known.get('loss_key', 'loss')), known['direction']),
        classes=cluster.classes,
        uses=cluster.uses if writer is None else _uses(cluster, index, running, seconds),
        workers=[] if writer is None else cluster.workers,
        running=running,
        waiting=waiting,
        forest=forest,
        rungs=index.reached(known.get('rungs', [])),
    )


def _table(rows: Sequence[Mapping[str, str]], limit: int) -> list[str]:
    """Set rows below the names of their columns; nothing without any."""
    if not rows:
        return []
    texts = {'compute class', 'hardware', 'worker', 'host', 'runs trials', 'tree'}
    left = [place for place, title in enumerate(rows[0]) if title in texts]
    more = [f'... and {len(rows) - limit} more'] if len(rows) > limit else []
    return [*columns(list(rows[0]), [list(row.values()) for row in rows[:limit]], left), *more]


def _uses(cluster: Cluster, index: LogIndex, running: Sequence[Trial], now: float) -> list[ClassUse]:
    """Return how the classes have been used in the run that goes on: as its driver counts it, by the log."""
    attempts = [*index.earlier, *zip(index.classes, index.started, index.finished, index.took)]
    names = np.array([attempt[0] for attempt in attempts], dtype=object)
    started, finished, seconds = np.array([attempt[1:] for attempt in attempts], float).reshape(-1, 3).T
    uses = []
    for own in cluster.classes:
        rows = (names == own.name) & (started >= cluster.began)
        going = sum(now - (trial.started or 0.0) for trial in running if trial.compute_class == own.name)
        uses.append(
            ClassUse(
                own, own.slots * (now - cluster.began), float(seconds[rows].sum()) + going,
                float((finished - started)[rows].sum()) + going,
            )
        )  # fmt: skip
    return uses
