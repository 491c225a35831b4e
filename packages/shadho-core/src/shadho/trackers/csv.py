"""Trials as rows of a CSV file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, TextIO

from shadho.errors import ConfigurationError
from shadho.jsontags import to_json
from shadho.records import Trial
from shadho.result import SearchInfo, SearchResult
from shadho.trackers.base import Tracker, hyperparameters, values_of
from shadho.words import column
from shadho_worker import jsonable

__all__ = ['CSVLogger']

FIXED = (
    'search', 'seed', 'trial', 'state', 'loss', 'seconds', 'started', 'finished', 'tree', 'label', 'compute_class',
    'host', 'error', 'results',
)  # fmt: skip


class CSVLogger(Tracker):
    """Appends a row for every finished trial to a CSV file, at once.

    The columns are known before the first trial: some that all searches share, then one for everything that varies in
    the space, named as in `SearchResult.to_dataframe`, and empty where a trial's tree lacks it. ``results`` is the
    objective's dict as JSON. A search that goes on goes on with the file.

    Parameters
    ----------
    path : str or Path
        The file; made with the folders above it when the search begins. It belongs to one search.

    Raises
    ------
    ConfigurationError
        When `path` cannot be a file's, or, logged when the search begins, when the file holds another search.

    Examples
    --------
    >>> from shadho import Shadho, spaces
    >>> from shadho.trackers import CSVLogger
    >>> result = Shadho('table', abs, spaces.uniform(-1, 1), max_tasks=2, seed=1, backend='inline', storage=None,
    ...                 display=False, plugins=[CSVLogger('trials.csv')]).run()
    >>> from pathlib import Path
    >>> len(Path('trials.csv').read_text().splitlines())
    3
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path) or Path(path).is_dir():
            raise ConfigurationError(f"CSVLogger(): path must be that of a file, such as 'trials.csv'; got {path!r}")
        self.path = Path(path).absolute()
        self._file: TextIO | None = None

    def begin(self, search: SearchInfo) -> set[int]:
        self._search = search
        self._columns = {column(('params', *path)): path for path, _ in hyperparameters(search.forest.space)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_row(self.path)
        noted = self._read(search)
        self._file = self.path.open('a', encoding='utf-8', newline='')
        self._rows = csv.writer(self._file, lineterminator='\n')
        if self._file.tell() == 0:
            self._rows.writerow([*FIXED, *self._columns])
            self._file.flush()
        return noted

    def _read(self, search: SearchInfo) -> set[int]:
        """Return the numbers of the trials in the file; refuse one that holds another search."""
        if not self.path.exists():
            return set()
        with self.path.open(encoding='utf-8', newline='') as file:
            rows = csv.reader(file)
            header = next(rows, None)
            found = [row[:3] for row in rows]
        if header is None:
            return set()
        own = [search.exp_key, str(search.seed)]
        if (
            header != [*FIXED, *self._columns]
            or any(row[:2] != own for row in found)
            or (found and not search.recorded)
        ):
            raise ConfigurationError(
                f'{self.path} holds another search, or an earlier one of the same name, whose storage is gone; nothing '
                'is written to it. Move it, or give CSVLogger another path'
            )
        return {int(row[2]) for row in found}

    def note(self, trial: Trial) -> None:
        assert self._file is not None
        search = self._search
        results = {name: value for name, value in (trial.results or {}).items() if name != 'loss'}
        fixed = [
            search.exp_key, search.seed, trial.id, trial.state.value, trial.loss, trial.seconds, trial.started,
            trial.finished, trial.tree, search.forest.tree(trial.tree).label, trial.compute_class, trial.host,
            None if trial.error is None else trial.error.message.partition('\n')[0], to_json(results) if results else None,
        ]  # fmt: skip
        values = values_of(trial.params, self._columns)
        self._rows.writerow([_cell(value) for value in (*fixed, *(values.get(name) for name in self._columns))])
        self._file.flush()

    def end(self, result: SearchResult) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _cell(value: Any) -> Any:
    """Return what stands for a value: itself if it is a number or a text of one line, else JSON."""
    if isinstance(value, str):
        return to_json(value) if '\n' in value or '\r' in value else jsonable(value)
    return value if value is None or isinstance(value, (bool, float)) else to_json(value)


def _cut_torn_row(path: Path) -> None:
    """Remove the row in which a process was killed: a whole one ends its line."""
    if path.exists():
        text = path.read_bytes()
        whole = text.rfind(b'\n') + 1
        if whole < len(text):
            with path.open('r+b') as file:
                file.truncate(whole)
