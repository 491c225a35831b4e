"""Trials as runs of MLflow."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from shadho.errors import ConfigurationError
from shadho.jsontags import to_json
from shadho.records import Trial, TrialState
from shadho.result import SearchInfo, SearchResult
from shadho.trackers.base import Tracker, distinct, hyperparameters, values_of
from shadho.words import column

if TYPE_CHECKING:
    from mlflow.entities import Metric

__all__ = ['MLflow']

log = logging.getLogger('shadho.plugins')

# What MLflow takes at most (mlflow.utils.validation).
_LONGEST_NAME = 250
_LONGEST_PARAM = 6000
_LONGEST_TAG = 5000
_LARGEST_BATCH = 100

_PARENT = 'mlflow.parentRunId'
_SEARCH, _SEED, _TRIAL = 'shadho.search', 'shadho.seed', 'shadho.trial'


class MLflow(Tracker):
    """Makes every finished trial a run of MLflow, below one run for the search.

    A trial's run has its hyperparameters as params; its loss, its seconds and the numbers among its results as metrics;
    and tags ``shadho.trial``, ``shadho.state``, ``shadho.tree``, ``shadho.label``, ``shadho.compute_class``,
    ``shadho.host`` and ``shadho.error``. The run of the search has ``best_loss`` as a metric over the number of finished
    trials. A search that goes on goes on with its runs.

    A thread talks to MLflow, so that the search does not wait for it, except at its end. What MLflow refuses is logged,
    and what is missing is tried again at the end of the search, and at that of the next run; while MLflow cannot be
    reached, trials wait for that.

    Needs MLflow (``pip install alembic mlflow-skinny sqlalchemy``, or the whole of ``mlflow``, which has the pages to look at).

    Parameters
    ----------
    tracking_uri : str, optional
        Such as ``'sqlite:///mlflow.db'`` or ``'http://localhost:5000'``; by default MLflow's own,
        which ``MLFLOW_TRACKING_URI`` sets.
    experiment : str, optional
        By default the name of the search.

    Raises
    ------
    ConfigurationError
        When MLflow is not installed.
    """

    follows = True

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        super().__init__()
        try:
            import mlflow  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                'MLflow() needs the package mlflow: pip install alembic mlflow-skinny sqlalchemy'
            ) from None
        self.tracking_uri = tracking_uri
        self.experiment = experiment

    def begin(self, search: SearchInfo) -> set[int]:
        from mlflow.tracking import MlflowClient

        self._search = search
        self._columns = {column(path) or 'params': path for path, _ in hyperparameters(search.forest.space)}
        self._names = distinct(self._columns, _name, _LONGEST_NAME)
        self._origin = time.time() - search.now()
        self._count = search.recorded
        self._best = None if search.best is None else search.best.loss
        self._broken = self._was_told = False
        with _logging_as_it_is():
            self._client = MlflowClient(tracking_uri=self.tracking_uri)
            self._experiment = self._find_experiment(self.experiment or search.exp_key)
        found = self._find_search() if search.recorded else None
        self._parent = found or self._create_search()
        self._client.update_run(self._parent, status='RUNNING')
        self._sender = ThreadPoolExecutor(1, 'shadho-mlflow')
        return self._find_trials() if found else set()

    def note(self, trial: Trial) -> None:
        self._sender.submit(self._try, trial)

    def settle(self) -> None:
        self._sender.submit(lambda: None).result()
        self._broken = False

    def end(self, result: SearchResult) -> None:
        self._sender.shutdown()
        failed = {'error': 'FAILED', 'interrupted': 'KILLED', 'terminated': 'KILLED'}
        self._client.log_metric(self._parent, 'trials', len(result))
        self._client.set_terminated(self._parent, failed.get(result.stopped, 'FINISHED'))

    # --- the run of the search --------------------------------------------------------------------

    def _find_experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if known is None else known.experiment_id)

    def _find_search(self) -> str | None:
        """Return the latest run of this very search, if there is one."""
        own = f"tags.`{_SEARCH}` = '{_quoted(self._search.exp_key)}' and tags.`{_SEED}` = '{self._search.seed}'"
        runs = self._client.search_runs([self._experiment], own, order_by=['attributes.start_time DESC'])
        return str(runs[0].info.run_id) if runs else None

    def _create_search(self) -> str:
        search = self._search
        tags = {_SEARCH: search.exp_key, _SEED: str(search.seed)}
        run = str(self._client.create_run(self._experiment, tags=tags, run_name=search.exp_key).info.run_id)
        for name in ('method', 'policy', 'backend', 'direction', 'seed'):
            self._client.log_param(run, name, getattr(search, name))
        return run

    def _find_trials(self) -> set[int]:
        """Return the numbers of the trials that have a run, and delete runs that were not finished."""
        found, token = set(), None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_PARENT}` = '{self._parent}'", page_token=token
            )
            for run in page:
                if run.info.status == 'RUNNING':
                    self._client.delete_run(run.info.run_id)
                else:
                    found.add(int(run.data.tags[_TRIAL]))
            token = page.token
            if not token:
                return found

    # --- the runs of the trials, in a thread ------------------------------------------------------

    def _try(self, trial: Trial) -> None:
        if self._broken:
            self.forget(trial)
            return
        try:
            self._send(trial)
        except Exception as error:
            self.forget(trial)
            self._broken = not self._answers()  # then each further trial would have to wait as long
            missing = 'trials' if self._broken else f'trial {trial.id} ({type(error).__name__}: {error!s:.300})'
            log.log(
                logging.WARNING if self._was_told else logging.ERROR,
                'MLflow does not take %s; what is missing is tried again when the search has ended', missing,
                exc_info=not self._was_told,
            )  # fmt: skip
            self._was_told = True

    def _answers(self) -> bool:
        """Whether MLflow can be reached: it has refused this one trial, then."""
        try:
            self._client.get_run(self._parent)
        except Exception:
            return False
        return True

    def _send(self, trial: Trial) -> None:
        begun, ended = (round(1000 * (self._origin + (when or 0.0))) for when in (trial.started, trial.finished))
        run = self._client.create_run(
            self._experiment, start_time=begun, run_name=f'trial {trial.id}',
            tags={name: text[:_LONGEST_TAG] for name, text in self._tags(trial).items()},
        ).info.run_id  # fmt: skip
        try:
            self._fill(run, trial, ended)
        except BaseException:
            with contextlib.suppress(Exception):  # it is made again, whole
                self._client.delete_run(run)
            raise
        self._follow_best(trial, ended)

    def _fill(self, run: str, trial: Trial, ended: int) -> None:
        """Write what is known of a trial to its run."""
        from mlflow.entities import Param

        values = values_of(trial.params, self._columns)
        params = [Param(self._names[name], _text(value)[:_LONGEST_PARAM]) for name, value in values.items()]
        metrics = [*self._curves(trial), *self._metrics(trial, ended)]
        for first in range(0, max(len(params), len(metrics), 1), _LARGEST_BATCH):
            batch = slice(first, first + _LARGEST_BATCH)
            self._client.log_batch(run, metrics[batch], params[batch])
        self._client.set_terminated(run, 'FAILED' if trial.state is TrialState.FAILED else 'FINISHED', ended)

    def _tags(self, trial: Trial) -> dict[str, str]:
        tags = {
            _PARENT: self._parent,
            _TRIAL: str(trial.id),
            'shadho.state': trial.state.value,
            'shadho.tree': str(trial.tree),
            'shadho.label': self._search.forest.tree(trial.tree).label,
            'shadho.compute_class': trial.compute_class,
            'shadho.host': trial.host,
        }
        if trial.error is not None:
            tags['shadho.error'] = f'{trial.error.kind}: {trial.error.message}'
        others = {name: value for name, value in trial.results.items() if _float(value) is None}
        names = distinct(others, _name, _LONGEST_NAME - len('results.'))
        return tags | {f'results.{names[name]}': _text(value) for name, value in others.items()}

    def _metrics(self, trial: Trial, when: int) -> Iterator[Metric]:
        from mlflow.entities import Metric

        own = {'loss': trial.loss, 'seconds': trial.seconds}
        results = {name: _float(value) for name, value in trial.results.items()}
        # A result of the name of one of ours, which is another number.
        others = {
            f'results.{name}' if name in own and own[name] != value else name: value for name, value in results.items()
        }
        numbers = {name: value for name, value in {**others, **own}.items() if value is not None}
        names = distinct(numbers, _name, _LONGEST_NAME)
        for name, value in numbers.items():
            yield Metric(names[name], value, when, trial.step)

    def _curves(self, trial: Trial) -> Iterator[Metric]:
        """Yield the numbers that a trial has reported, at their steps."""
        from mlflow.entities import Metric

        reports = self.take_reports(trial)
        names = distinct(dict.fromkeys(name for report in reports for name in report.results), _name, _LONGEST_NAME)
        for report in reports:
            when = round(1000 * (self._origin + report.time))
            for name, result in report.results.items():
                value = _float(result)
                if value is not None:
                    yield Metric(names[name], value, when, report.step)

    def _follow_best(self, trial: Trial, when: int) -> None:
        self._count += 1
        if trial.loss is None or not math.isfinite(trial.loss):
            return
        if self._best is None or self._search.goal.best(self._best, trial.loss) != self._best:
            self._best = trial.loss
            self._client.log_metric(self._parent, 'best_loss', trial.loss, when, self._count)


@contextlib.contextmanager
def _logging_as_it_is() -> Iterator[None]:
    """Keep the handlers and the level of the root logger, which MLflow replaces when it makes the tables of a store."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _float(value: Any) -> float | None:
    """Return a number as a metric of MLflow; None for what is none, as it is too large, or no number."""
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return None


def _name(text: str) -> str:
    """Return a name that MLflow takes.

    Examples
    --------
    >>> _name('layers[0].width')
    'layers.0.width'
    """
    numbered = re.sub(r'\[(\d+)\]', r'.\1', text)
    text = re.sub(r'[^\w.\- ]', '_', numbered)
    return text if text.strip('.') else '_' * max(len(text), 1)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value)


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")
