"""The objective: cross-validation of one setting, in whatever process it is called."""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score

from shadho.execution.objective import Function
from shadho.records import Trial
from shadho.result import SearchResult
from shadho.sklearn.callbacks import Task
from shadho.sklearn.settings import Settings
from shadho_worker.handle import TrialHandle
from shadho_worker.outcomes import Outcome

__all__ = ['FITS', 'SCORE', 'CrossValidation', 'Evaluation', 'Numbered', 'failed_fit']

SCORE = 'score'
"""Where the objective returns what is maximised."""

FITS = 'fits'
"""Where it returns what scikit-learn notes of every split: scores, seconds, the traceback of what failed."""

_TAKES_SCORE_PARAMS = 'score_params' in inspect.signature(_fit_and_score).parameters  # since scikit-learn 1.4


@attrs.frozen
class Evaluation:
    """One setting on all splits: a row of ``cv_results_``.

    Attributes
    ----------
    trial : Trial
    results : mapping
        What the objective returned or reported; empty where it failed.
    rung : int
        The number of the rung (see `shadho.sklearn.halving`).
    """

    trial: Trial
    results: Mapping[str, Any]
    rung: int = 0


@attrs.define(slots=False)
class CrossValidation:
    """Fits and scores an estimator on every split of the data: the objective of a search.

    It is sent once to every process that evaluates trials, with the data.

    Attributes
    ----------
    settings : Settings
    X, y : indexable
    splits : sequence of (train, test)
        Indices, the same for all trials.
    scorer : callable
    metric : str or None
        What is maximised where there are several; the first one when None.
    fit_params, score_params : mapping
        What was routed to the estimator and to the scorer.
    options : mapping
        ``error_score``, ``return_train_score`` and ``verbose`` of scikit-learn.
    name : str
        Tells it from the cross-validation of other data; recorded with the search.
    task : Task or None
        What callbacks are told of each split, where there are any.
    trial : int
        The trial that is evaluated (see `Numbered`).
    """

    settings: Settings
    X: Any
    y: Any
    splits: Sequence[tuple[Any, Any]]
    scorer: Any
    metric: str | None
    fit_params: Mapping[str, Any]
    score_params: Mapping[str, Any]
    options: Mapping[str, Any]
    name: str
    task: Task | None = None
    trial: int = 0

    def __attrs_post_init__(self) -> None:
        self.rename(self.name)
        self._config = get_config()
        self._filters = list(warnings.filters)

    def rename(self, name: str) -> None:
        self.name = self.__qualname__ = name

    def __call__(self, params: Any) -> dict[str, Any]:
        """Return the mean score over the splits, and all that scikit-learn notes of each."""
        return self.evaluate(self.settings.named(params), self.splits, self.trial)

    def evaluate(self, named: Mapping[str, Any], splits: Sequence[tuple[Any, Any]], number: int) -> dict[str, Any]:
        """Return the same of a setting by scikit-learn's names; callbacks are told the number of the evaluation."""
        with config_context(**self._config), warnings.catch_warnings():
            warnings.filters[:] = self._filters  # type: ignore[index]  # as they are where the search was started
            fits = self._fits(named, splits, number)
        return {SCORE: float(np.mean([self._score(fit['test_scores']) for fit in fits])), FITS: fits}

    @property
    def evaluations_per_trial(self) -> int:
        """How often a setting is evaluated at most."""
        return 1

    @property
    def search_options(self) -> dict[str, Any]:
        """Options of `shadho.Shadho` that it needs."""
        return {}

    def repeat(self, trial: Trial) -> None:
        """Evaluate a trial once more from where it failed, to raise what it raised."""
        self(trial.params)

    def evaluations(self, result: SearchResult) -> list[Evaluation]:
        """Return what each setting of a search scored, in the order of their suggestion."""
        return [Evaluation(trial, trial.results) for trial in sorted(result, key=lambda trial: trial.id)]

    def candidate(self, evaluation: Evaluation) -> dict[str, Any]:
        """Return the setting of an evaluation by scikit-learn's names."""
        return self.settings.named(evaluation.trial.params)

    def _fits(self, named: Mapping[str, Any], splits: Sequence[tuple[Any, Any]], number: int) -> list[dict[str, Any]]:
        estimator, own = self.settings.chosen(named)
        options = {**self.options, 'fit_params': self.fit_params}
        if _TAKES_SCORE_PARAMS:
            options['score_params'] = self.score_params
        fits = []
        for place, split in enumerate(splits):
            told = {} if self.task is None else self.task.arguments(number * len(splits) + place)
            progress = {'split_progress': (place, len(splits))}
            fits.append(self._fit(clone(estimator), own, split, {**options, **progress, **told}))
        return fits

    def _fit(
        self, estimator: Any, params: dict[str, Any], split: tuple[Any, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Fit and score on one split; whatever ends a program, such as SystemExit, fails this fit only."""
        train, test = split
        try:
            fit: dict[str, Any] = _fit_and_score(
                estimator, self.X, self.y, train=train, test=test, scorer=self.scorer, parameters=params, return_times=True,
                **options,
            )  # fmt: skip
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException:
            if self.options['error_score'] == 'raise':
                raise
            return failed_fit(traceback.format_exc(), self.options['error_score'], self.options['return_train_score'])
        return fit

    def _score(self, scores: Any) -> float:
        if not isinstance(scores, Mapping):
            return float(scores)
        return float(scores[self.metric if self.metric in scores else next(iter(scores))])


def failed_fit(reason: str, error_score: float, return_train_score: bool) -> dict[str, Any]:
    """Return what scikit-learn would note of a fit that failed for a reason."""
    fit = {'test_scores': error_score, 'fit_time': np.nan, 'score_time': np.nan, 'fit_error': reason}
    if return_train_score:
        fit['train_scores'] = error_score
    return fit


class Numbered(Function):
    """A cross-validation that is told which trial it evaluates."""

    def evaluate(self, params: Any, trial: int, handle: TrialHandle | None = None) -> Outcome:
        self.function.trial = trial  # type: ignore[attr-defined]
        return super().evaluate(params, trial, handle)
