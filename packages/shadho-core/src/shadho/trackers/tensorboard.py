"""Trials as curves and as a table of TensorBoard."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shadho.errors import ConfigurationError
from shadho.jsontags import to_json
from shadho.records import Trial
from shadho.result import SearchInfo, SearchResult
from shadho.spaces.domains import Choice, Domain
from shadho.trackers.base import Tracker, distinct, hyperparameters, values_of
from shadho.words import column

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

__all__ = ['TensorBoard']

_LONGEST_NAME = 250
_LARGEST = sys.float_info.max
"""Beyond it no integer is a float."""


class TensorBoard(Tracker):
    """Writes what TensorBoard shows of a search: ``tensorboard --logdir runs``.

    The curves are ``loss``, ``best_loss``, and ``seconds/<compute class>``, over the number of finished trials. The
    table is TensorBoard's of hyperparameters: each trial is a session, with its loss, its seconds, and the curves ``reports/<name>`` of
    what it has reported. A search that goes
    on goes on with its curves. Needs tensorboardX (``pip install tensorboardX``); looking needs TensorBoard.

    Parameters
    ----------
    logdir : str or Path, default 'runs'
        The folder; the search writes below it, in ``<exp_key>``, and one begun anew in ``<exp_key>-2``.
    hparams : bool, default True
        Whether to write the table. It takes a folder for each trial, of which TensorBoard shows some thousands at most.

    Raises
    ------
    ConfigurationError
        When tensorboardX is not installed, or `logdir` cannot be a folder's.
    """

    completes = False
    follows = True

    def __init__(self, logdir: str | os.PathLike[str] = 'runs', *, hparams: bool = True) -> None:
        super().__init__()
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ConfigurationError('TensorBoard() needs the package tensorboardX: pip install tensorboardX') from None
        if not isinstance(logdir, (str, os.PathLike)) or Path(logdir).is_file():
            raise ConfigurationError(f"TensorBoard(): logdir must be a folder, such as 'runs'; got {logdir!r}")
        self.logdir = Path(logdir).absolute()
        self.hparams = hparams
        self._writer: SummaryWriter | None = None

    def begin(self, search: SearchInfo) -> set[int]:
        from tensorboardX import SummaryWriter

        self._search = search
        self._count = search.recorded
        self._best = None if search.best is None else search.best.loss
        self._classes: dict[str, str] = {}
        self._domains = {
            column(path) or 'params': (path, node)
            for path, node in hyperparameters(search.forest.space)
            if isinstance(node, Domain)
        }
        self._folder = self._choose_folder(search)
        # Files are named by the second, and one of the same name would be written over.
        self._writer = SummaryWriter(str(self._folder), filename_suffix=f'.{search.recorded:09d}')
        if self.hparams:
            self._describe_table()
        return set()

    def _choose_folder(self, search: SearchInfo) -> Path:
        number, folder = 1, self.logdir / search.exp_key
        following = folder
        while following.exists():
            number, folder = number + 1, following
            following = self.logdir / f'{search.exp_key}-{number}'
        return folder if search.recorded else following

    def note(self, trial: Trial) -> None:
        assert self._writer is not None
        step, self._count = self._count, self._count + 1
        self._writer.add_scalar(f'seconds/{self._class_name(trial.compute_class)}', trial.seconds, step)
        if trial.loss is not None and math.isfinite(trial.loss):
            self._writer.add_scalar('loss', trial.loss, step)
            self._best = trial.loss if self._best is None else self._search.goal.best(self._best, trial.loss)
            self._writer.add_scalar('best_loss', self._best, step)
        self._writer.flush()
        if self.hparams:
            self._add_session(trial)

    def _class_name(self, name: str) -> str:
        """Return a name that TensorBoard takes, and no other class has."""
        if name not in self._classes:
            self._classes = distinct([*self._classes, name], lambda own: re.sub(r'[^\w.-]', '_', own), _LONGEST_NAME)
        return self._classes[name]

    def _describe_table(self) -> None:
        """Name the columns: with the first trial's alone, those of other trees would be missing."""
        from tensorboardX.summary import hparams

        examples = {name: 0.0 if _is_number(domain) else '' for name, (_, domain) in self._domains.items()}
        experiment, _, _ = hparams(examples, {'loss': 0.0, 'seconds': 0.0})
        self._file_writer().add_summary(experiment)

    def _add_session(self, trial: Trial) -> None:
        from tensorboardX import FileWriter
        from tensorboardX.summary import hparams, scalar

        values = values_of(trial.params, {name: path for name, (path, _) in self._domains.items()})
        told = {
            name: float(value) if _is_number(self._domains[name][1]) else _text(value) for name, value in values.items()
        }
        _, start, end = hparams(told, {})
        writer = FileWriter(str(self._folder / f'trial-{trial.id:06d}'))
        writer.add_summary(start)
        if trial.loss is not None:
            writer.add_summary(scalar('loss', trial.loss))
        writer.add_summary(scalar('seconds', trial.seconds))
        for report in self.take_reports(trial):
            for name, value in report.results.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    writer.add_summary(scalar(f'reports/{name}', value), report.step)
        writer.add_summary(end)
        writer.close()

    def _file_writer(self) -> Any:
        assert self._writer is not None
        return self._writer.file_writer

    def end(self, result: SearchResult) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _is_number(domain: Domain) -> bool:
    """Whether all values of a domain are numbers; a column of the table is of numbers or of texts."""
    values = domain.values if isinstance(domain, Choice) else (0.0,)
    return all(
        isinstance(value, (int, float)) and type(value) is not bool and abs(value) <= _LARGEST for value in values
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)
