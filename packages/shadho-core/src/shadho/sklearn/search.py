"""`ShadhoSearchCV`: a search that takes the place of RandomizedSearchCV or GridSearchCV."""

from __future__ import annotations

import copy
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import joblib
import numpy as np
from sklearn.base import _fit_context, is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.metrics._scorer import _check_multimetric_scoring, _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import Bunch, check_random_state, indexable
from typing_extensions import Self

from shadho import plugins
from shadho.backends import Backend, Job
from shadho.checks import as_integer, check_count, check_plugins
from shadho.errors import ConfigurationError, StorageError, brief, nearest
from shadho.forest import Forest
from shadho.options import find_storage
from shadho.plugins.hookspecs import hookimpl
from shadho.records import Trial, TrialError
from shadho.result import SearchResult
from shadho.samplers import Sampler
from shadho.scheduling import Policy
from shadho.shadho import Shadho
from shadho.sklearn.callbacks import Task, whole_task
from shadho.sklearn.content import digest
from shadho.sklearn.evaluation import FITS, SCORE, CrossValidation, Evaluation, Numbered, failed_fit
from shadho.sklearn.halving import RungByRung, best_of_the_largest, check_halving
from shadho.sklearn.settings import Settings, first_of
from shadho.storage import Storage

__all__ = ['ShadhoSearchCV']

_FURTHER = (
    'trials_per_tree', 'trial_timeout', 'grace', 'max_tasks_per_child', 'max_retries', 'resume', 'grid_points', 'repeats',
    'warm_start', 'durability', 'echo', 'plugins', 'options', 'policy_options',
)  # fmt: skip
"""Options of `Shadho` that `search_options` may hold: those that are no parameters here, nor settled."""

_MOST_COUNTED = 10_000
"""Trees up to which the settings of a finite space are counted. More would delay the search, which hardly tries them all. Chosen."""


class ShadhoSearchCV(BaseSearchCV):  # type: ignore[misc]  # scikit-learn has no types
    """Search for the parameters of an estimator that score best in cross-validation.

    Takes the place of scikit-learn's ``RandomizedSearchCV``: each trial is one setting, evaluated
    on every split of the data in a slot of a backend. Afterwards the search predicts as the best
    estimator, refitted on all data.

    Parameters
    ----------
    estimator : estimator, or dict of str to estimator
        With a dict, the search chooses among its estimators, too.
    space : dict or list of dict
        What varies, under scikit-learn's names of parameters: domains of `shadho.spaces`, lists,
        frozen distributions of ``scipy.stats``, nested dicts. A list of dicts is a choice of one of
        them. For a dict of estimators, a dict of the same names.
    method : str or Sampler class, default 'auto'
        How settings are suggested.
    n_trials : int or None, default 50
        Settings to try; None for no limit but `timeout`, or the end of a space of grids.
    timeout : float, optional
        Seconds after which the search ends; the refit comes after.
    scoring : str, callable, list, tuple or dict, optional
        As in scikit-learn. Of several metrics the one that `refit` names is maximised, or else the
        first.
    n_jobs : int, optional
        Trials at a time on this machine, -1 for one on each core; `backend` decides when not given.
    backend : str or Backend, default 'auto'
        Where trials run: 'auto' is in parallel on this machine where ``shadho-local`` is installed,
        'inline' one after the other in this process.
    refit : bool, str or callable, default True
        As in scikit-learn.
    cv : int, splitter or iterable, optional
        As in scikit-learn; all trials have the same splits.
    halving : str or dict, optional
        Try settings with few samples or iterations first, and only the best third of them with more.
        ``'n_samples'`` is the size of the training set; the name of a parameter, such as
        ``'n_estimators'``, makes that one larger from rung to rung, up to its value in the estimator.
        A dict has the options that scikit-learn's ``HalvingGridSearchCV`` has under these names, here with
        the defaults: ``{'resource': 'n_samples', 'min_resources': 'exhaust', 'max_resources': 'auto', 'factor': 3}``.
    policy : str or Policy class, default 'market'
        Which tree of the space the next trial is of, where it has several.
    resources : mapping, optional
        What each trial asks for: ``{'cores': 1, 'memory': MiB, 'gpus': 0}``.
    storage : str, path or Storage, optional
        Where trials are recorded, such as ``'svm.db'``: a search of the same estimator, data, splits
        and scoring goes on with it, and any other is refused.
    exp_key : str, optional
        Name of the search; the estimator's class when not given.
    random_state : int, RandomState or None, default None
        Fixes the suggestions, and which samples a rung of `halving` has. Trials one at a time then
        repeat exactly.
    error_score : 'raise' or float, default nan
        Score of a split whose fit fails, and of all splits of a setting that crashes or takes too long;
        the search learns of nan as of a failure. With 'raise' the first failure ends the search, and is
        repeated in this process, to raise its exception.
    return_train_score : bool, default False
    verbose : int, default 0
        1 shows the progress, 2 and more a line for each fit, too.
    search_options : mapping, optional
        Further options of `shadho.Shadho`, such as ``{'trial_timeout': 60}``.

    Attributes
    ----------
    result_ : SearchResult
        The search itself: every trial, for `shadho.report`; its losses are the scores.
    cv_results_ : dict
        As in scikit-learn, with trials in the order of their suggestion. With `halving` there is a row for
        each rung of a trial, with the columns ``iter`` and ``n_resources``, in the order of rungs.
    best_estimator_, best_params_, best_score_, best_index_, scorer_, n_splits_, refit_time_, multimetric_
        As in scikit-learn. For a dict of estimators, ``best_params_['estimator']`` is the name of
        the chosen one, which stands before the names of its parameters, too. With `halving` the best
        is among those that were evaluated with most resources.
    n_resources_, n_candidates_ : list of int
        With `halving`: the resources of each rung, and how many settings were evaluated there.

    Raises
    ------
    ConfigurationError, SpaceError, StorageError
        From `fit`, when a parameter cannot be used.

    Notes
    -----
    Ctrl-C ends the search, and the best setting so far is refitted. Where the search runs in
    parallel, the data is sent once to each slot.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from shadho import spaces
    >>> from shadho.sklearn import ShadhoSearchCV
    >>> search = ShadhoSearchCV(SVC(), {'C': spaces.loguniform(0.1, 100)}, n_trials=10, backend='inline', random_state=0)
    >>> search = search.fit(*load_iris(return_X_y=True))
    >>> len(search.cv_results_['params']), f'{search.best_score_:.2f}'
    (10, '0.99')
    """

    best_estimator_: Any
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    cv_results_: dict[str, Any]
    multimetric_: bool
    n_candidates_: list[int]
    n_resources_: list[int]
    n_splits_: int
    refit_time_: float
    result_: SearchResult
    scorer_: Any

    # For scikit-learn, which checks its own parameters with them; ours are checked by `Shadho`.
    _parameter_constraints = {**BaseSearchCV._parameter_constraints}
    _parameter_constraints['estimator'] = [*_parameter_constraints['estimator'], dict]
    _parameter_constraints['random_state'] = ['random_state']

    def __init__(
        self,
        estimator: Any,
        space: Any,
        *,
        method: str | type[Sampler] = 'auto',
        n_trials: int | None = 50,
        timeout: float | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        backend: str | Backend = 'auto',
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        cv: Any = None,
        halving: str | Mapping[str, Any] | None = None,
        policy: str | type[Policy] = 'market',
        resources: Mapping[str, Any] | None = None,
        storage: str | os.PathLike[str] | Storage | None = None,
        exp_key: str | None = None,
        random_state: int | np.random.RandomState | None = None,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
        search_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose, error_score=error_score,
            return_train_score=return_train_score,
        )  # fmt: skip
        self.space = space
        self.method = method
        self.n_trials = n_trials
        self.timeout = timeout
        self.backend = backend
        self.halving = halving
        self.policy = policy
        self.resources = resources
        self.storage = storage
        self.exp_key = exp_key
        self.random_state = random_state
        self.search_options = search_options

    # --- the search ----------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and refit the best setting on all data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_samples)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
        **params
            Passed to the estimator's ``fit``, the scorer and the splitter, as in scikit-learn:
            ``sample_weight``, ``groups``, and whatever metadata is routed.

        Returns
        -------
        ShadhoSearchCV
            Itself.

        Raises
        ------
        ValueError
            When every fit failed, or (a ConfigurationError) no trial finished.
        """
        self._fit(X, y, params)
        return self

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def _fit(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        self._check_estimators()
        scorer, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(params)
        weights = params.get('sample_weight')
        metadata = None if weights is None else {'sample_weight': weights}
        task = whole_task(self, _listed(self.estimator), {'X': X, 'y': y, 'metadata': metadata})
        if task is not None:
            task.begin()
        splits = self._split(X, y, routed.splitter.split)
        settings = Settings.of(self.estimator, self.space)
        settings.check()
        objective = CrossValidation(
            settings, X, y, splits, scorer,
            metric=self.refit if isinstance(self.refit, str) else None,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            options={name: getattr(self, name) for name in ('error_score', 'return_train_score', 'verbose')},
            name=self._name(settings, data=(X, y, params), splits=splits),
        )  # fmt: skip
        seed, limit = self._seed(), check_count('n_trials', self.n_trials, 1)
        if self.halving is not None:
            limit = self._most_settings(settings, limit)
            objective = RungByRung.of(objective, self.halving, limit, 0 if seed is None else seed)
        with self._evaluations(task, objective, limit) as objective.task:
            self.result_ = self._run_search(objective, seed, limit)
        results = self._results(objective)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(dict.fromkeys(_metrics(results)))
            refit_metric = self.refit
        self._select(results, refit_metric)
        if self.refit:
            self._refit(settings, X, y, routed.estimator.fit, task)
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        self.cv_results_ = results
        if task is not None:
            task.end()

    def _most_settings(self, settings: Settings, limit: int | None) -> int | None:
        """Return `n_trials`, or the number of settings if that is less: paused ones would go on for want of new ones."""
        forest = Forest(settings.space)
        if any(leaf.domain.size is None for leaf in forest.leaves) or forest.count > _MOST_COUNTED:
            return limit
        repeats = as_integer(self._options().get('repeats')) or 1
        count = repeats * sum(int(forest.tree(index).size) for index in range(forest.count))
        return count if limit is None else min(limit, count)

    def _evaluations(
        self, task: Task | None, objective: CrossValidation, limit: int | None
    ) -> AbstractContextManager[Task | None]:
        """Return the part of a task that is all fits on splits."""
        if task is None:
            return nullcontext()
        most = None if limit is None else limit * objective.evaluations_per_trial * self.n_splits_
        return task.part('search', max_subtasks=most, sequential_subtasks=False)

    def _check_estimators(self) -> None:
        """Refuse to compare classifiers with regressors: their scores and splits differ."""
        first = first_of(self.estimator)
        for estimator in _listed(self.estimator):
            if (is_classifier(estimator), is_regressor(estimator)) != (is_classifier(first), is_regressor(first)):
                raise ConfigurationError(
                    f'estimator: {estimator!r} and {first!r} are of different kinds, whose scores cannot be compared; '
                    'give classifiers only, or regressors only'
                )

    def _split(self, X: Any, y: Any, params: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        cv = check_cv(self.cv, y, classifier=is_classifier(first_of(self.estimator)))
        self.n_splits_ = cv.get_n_splits(X, y, **params)
        splits = list(cv.split(X, y, **params))
        if len(splits) != self.n_splits_:
            raise ValueError(
                'cv.split and cv.get_n_splits return inconsistent results. '
                f'Expected {self.n_splits_} splits, got {len(splits)}'
            )
        if not splits:
            raise ValueError('No fits were performed. Was the CV iterator empty? Were there no candidates?')
        return splits

    def _name(self, settings: Settings, **measured: Any) -> str:
        """Name what is evaluated; where it is recorded, with digests by which the same is known again."""
        name = ' '.join(f'{brief(self.estimator)}, scoring={brief(self.scoring)}'.split())
        if self.storage is None:
            return name
        metric = self.refit if isinstance(self.refit, str) else None
        parts = {'estimator': (self.estimator, settings.objects), 'scoring': (self.scoring, metric), **measured}
        if self.halving is not None:
            parts['halving'] = check_halving(self.halving)['resource']
        return f'{name} [{", ".join(f"{part} {digest(parts[part])}" for part in parts)}]'

    def _options(self) -> dict[str, Any]:
        """Return the further options of `Shadho`, refusing what it does not have and what is given otherwise."""
        options = self.search_options or {}
        if not isinstance(options, Mapping):
            raise ConfigurationError(f'search_options must be a dict of options of Shadho by name; got {options!r}')
        for name in options:
            if name not in _FURTHER:
                raise ConfigurationError(
                    f'search_options: {name!r} is no option that can be given there; {nearest(str(name), _FURTHER)}. Others are '
                    'parameters of ShadhoSearchCV, such as n_trials and timeout'
                )
        return dict(options)

    def _run_search(self, objective: CrossValidation, seed: int | None, limit: int | None) -> SearchResult:
        """Run the search that `fit` has prepared."""
        error = _Error(raises_all=self.error_score == 'raise')
        key = type(first_of(self.estimator)).__name__ if self.exp_key is None else self.exp_key
        with _own_names():
            options = self._options()
            options['plugins'] = [*check_plugins(options.get('plugins', ())), error]
            search = _Search(
                key, objective, objective.settings.space, self.method, self.timeout, limit, seed, self._backend(),
                self._storage(key, objective), policy=self.policy, resources=self.resources, direction='maximize',
                loss_key=SCORE, display=bool(self.verbose), **objective.search_options, **options,
            )  # fmt: skip
            result = search.run()
        error.raise_again(objective)
        return result

    def _seed(self) -> int | None:
        if self.random_state is None or isinstance(self.random_state, int):
            return check_count('random_state', self.random_state, 0)
        return int(check_random_state(self.random_state).randint(2**31))

    def _backend(self) -> str | Backend:
        if self.n_jobs is None:
            return self.backend
        workers = joblib.effective_n_jobs(self.n_jobs)
        if self.backend not in ('auto', 'local'):
            if workers == 1 and self.backend == 'inline':
                return 'inline'
            raise ConfigurationError(
                f'n_jobs={self.n_jobs!r} is for trials in processes on this machine, and backend={self.backend!r} has slots of '
                'its own; leave one of the two out'
            )
        limit = (self.search_options or {}).get('trial_timeout')
        if workers == 1 and limit is None and self.backend == 'auto':
            return 'inline'  # which cannot end a trial that takes too long
        local: Backend = plugins.load().get('backend', 'local')(workers=workers)
        return local

    def _storage(self, key: str, objective: CrossValidation) -> Storage | None:
        """Return the storage, unless it holds the scores of something else."""
        if self.storage is None:
            return None
        with find_storage(plugins.load(), self.storage, key, 'normal') as storage:
            known = storage.metadata().get('objective', objective.name)
        recorded, given = _digests(known), _digests(objective.name)
        if recorded != given:
            parts = dict.fromkeys((*given, *recorded))
            other = [part for part in parts if recorded.get(part) != given.get(part)]
            raise StorageError(
                f'storage: {storage} was recorded with {known}, and this is {objective.name}: another {" and ".join(other)}, '
                'so the scores cannot be compared. Give another storage, or what was recorded (a cv that shuffles needs a '
                'random_state)'
            )
        objective.rename(known)  # the text beside the digests may hold addresses
        return storage

    # --- what came of it -----------------------------------------------------------------------

    def _results(self, objective: CrossValidation) -> dict[str, Any]:
        """Return `cv_results_`, as scikit-learn makes it of the notes on every split."""
        found = [each for each in objective.evaluations(self.result_) if each.trial.params is not None]
        if not found:
            if self.result_.stopped == 'interrupted':
                raise KeyboardInterrupt
            raise ConfigurationError(
                f'no trial finished (stopped: {self.result_.stopped}), so there is no best one; '
                f'with timeout={self.timeout!r}, give more seconds'
            )
        fits = [fit for each in found for fit in self._fits(each)]
        _warn_or_raise_about_fit_failures(fits, self.error_score)
        _insert_error_scores(fits, self.error_score)
        self.multimetric_ = isinstance(fits[0]['test_scores'], dict)
        candidates = [objective.candidate(each) for each in found]
        more = None
        if isinstance(objective, RungByRung):
            self.n_resources_ = objective.halving.rungs
            rungs = [each.rung for each in found]
            self.n_candidates_ = [rungs.count(rung) for rung in range(len(self.n_resources_))]
            more = {'iter': rungs, 'n_resources': [self.n_resources_[rung] for rung in rungs]}
        results: dict[str, Any] = self._format_results(candidates, self.n_splits_, fits, more)
        return results

    def _fits(self, evaluation: Evaluation) -> list[dict[str, Any]]:
        """Return the notes on every split, as if they had been made now."""
        score = np.nan if self.error_score == 'raise' else self.error_score
        fits = evaluation.results.get(FITS)
        if fits is None:  # it raised, crashed, or took too long
            error = evaluation.trial.error
            reason = 'unknown' if error is None else _reason(error)
            return [failed_fit(reason, score, self.return_train_score) for _ in range(self.n_splits_)]
        return [self._as_now(fit, score) for fit in fits]

    def _as_now(self, fit: dict[str, Any], error_score: float) -> dict[str, Any]:
        """Return the notes on a split, which an earlier run may have recorded with other options."""
        now = {**fit, 'test_scores': error_score} if fit['fit_error'] else dict(fit)
        train = now.pop('train_scores', np.nan)
        if self.return_train_score:
            test = now['test_scores']
            none = dict.fromkeys(test, np.nan) if isinstance(test, dict) else np.nan
            now['train_scores'] = error_score if fit['fit_error'] else train if 'train_scores' in fit else none
        return now

    def _select(self, results: dict[str, Any], metric: Any) -> None:
        if not self.refit and self.multimetric_:
            return
        is_halved = self.halving is not None and not callable(self.refit)
        choose = best_of_the_largest if is_halved else partial(self._select_best_index, self.refit)
        self.best_index_ = choose(metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f'mean_test_{metric}'][self.best_index_]
        self.best_params_ = results['params'][self.best_index_]

    def _refit(self, settings: Settings, X: Any, y: Any, fit_params: Mapping[str, Any], task: Task | None) -> None:
        self.best_estimator_ = settings.apply(self.best_params_)
        told = nullcontext() if task is None else task.part('refit-with-best-params', self.best_estimator_)
        with told:
            begun = time.perf_counter()
            self.best_estimator_.fit(*((X,) if y is None else (X, y)), **fit_params)
            self.refit_time_ = time.perf_counter() - begun
        if hasattr(self.best_estimator_, 'feature_names_in_'):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    # --- what scikit-learn asks, also of a dict of estimators, and in its older releases ---------

    def _get_scorers(self, convert_multimetric: bool = True) -> tuple[Any, Any]:
        if callable(self.scoring):
            return self.scoring, SCORE
        estimator = first_of(self.estimator)
        if self.scoring is None or isinstance(self.scoring, str):
            return check_scoring(estimator, self.scoring), SCORE
        scorers = _check_multimetric_scoring(estimator, self.scoring)
        self._check_refit_for_multimetric(scorers)
        return _MultimetricScorer(scorers=scorers, raise_exc=self.error_score == 'raise'), self.refit

    def _get_routed_params_for_fit(self, params: dict[str, Any]) -> Any:
        if hasattr(BaseSearchCV, '_get_routed_params_for_fit'):  # since scikit-learn 1.4
            return super()._get_routed_params_for_fit(params)
        own = {name: value for name, value in params.items() if name != 'groups'}
        split = {'groups': params.get('groups')}
        return Bunch(estimator=Bunch(fit=own), splitter=Bunch(split=split), scorer=Bunch(score={}))

    def _of_one(self) -> ShadhoSearchCV:
        """Return the search as one of the first of its estimators, which stands for all."""
        if not isinstance(self.estimator, Mapping):
            return self
        one = copy.copy(self)
        one.estimator = first_of(self.estimator)
        return one

    def get_metadata_routing(self) -> Any:
        """Return what metadata is passed where; see scikit-learn's user guide."""
        return BaseSearchCV.get_metadata_routing(self._of_one())

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags  # which older releases lack, and do not ask for

        one = self._of_one()
        tags = BaseSearchCV.__sklearn_tags__(one)
        tags.target_tags.multi_output = get_tags(one.estimator).target_tags.multi_output
        return tags

    @property
    def _estimator_type(self) -> Any:
        return getattr(first_of(self.estimator), '_estimator_type', None)

    def _sk_visual_block_(self) -> Any:
        return BaseSearchCV._sk_visual_block_(self._of_one())


class _Search(Shadho):
    """A search whose messages name the parameters of ShadhoSearchCV, and whose objective knows its trial."""

    _limit_name = 'n_trials'

    def _job(self, seed: int = 0, folders: Path | None = None) -> Job:
        job = super()._job(seed, folders)
        return attrs.evolve(job, objective=Numbered(self.objective, self.loss_key, self._takes_trial))


class _Error:
    """Ends a search with the first exception that scikit-learn's searches would let through.

    Exceptions of an estimator's ``fit`` are among them with ``error_score='raise'`` only; those of a
    function that scores always.
    """

    def __init__(self, raises_all: bool) -> None:
        self.kinds = {'exception', *(('crash', 'timeout', 'memory', 'lost') if raises_all else ())}
        self.trial: Trial | None = None

    @hookimpl
    def shadho_should_stop(self, trial: Trial) -> bool:
        if (
            self.trial is None
            and trial.error is not None
            and trial.error.kind in self.kinds
            and trial.params is not None
        ):
            self.trial = trial
        return self.trial is not None

    def raise_again(self, objective: CrossValidation) -> None:
        """Evaluate that trial once more in this process, where its exception can be raised as it is."""
        if self.trial is None or self.trial.error is None:
            return
        error = self.trial.error
        objective.task = None  # callbacks have been told
        if error.kind == 'exception':
            objective.repeat(self.trial)
        raise ConfigurationError(
            f'the setting {self.trial.params} failed ({error.kind}): {error.message}. Leave error_score out to go on '
            f'with other settings\n{error.traceback}'
        )


def _metrics(results: Mapping[str, Any]) -> list[str]:
    prefix = 'mean_test_'
    return [name.removeprefix(prefix) for name in results if name.startswith(prefix)]


def _listed(estimator: Any) -> list[Any]:
    return list(estimator.values()) if isinstance(estimator, Mapping) else [estimator]


def _reason(error: TrialError) -> str:
    """Say why a setting failed; a traceback says it all."""
    return error.traceback if error.kind == 'exception' else f'{error.kind}: {error.message}\n{error.traceback}'


def _digests(name: str) -> dict[str, str]:
    """Return the digests that stand at the end of a name, by what they are of."""
    found = re.search(r' \[([^][]*)\]$', name)
    return {} if found is None else dict(re.findall(r'(\w+) ([0-9a-f]{16})', found[1]))


@contextmanager
def _own_names() -> Iterator[None]:
    """Say of each name in an error that is no parameter of ShadhoSearchCV where it stands there."""
    try:
        yield
    except (ConfigurationError, StorageError) as error:
        if str(error).startswith('search_options'):
            raise
        named = [name for name in _FURTHER if re.search(rf'\b{name}\b', str(error))]
        hints = [f'{" and ".join(named)}: in search_options'] if named else []
        if 'the objective' in str(error):
            hints.append('the objective: the cross-validation, with the estimator, the data and the scoring')
        if 'takes its trial' in str(error):
            hints.append('an objective that takes its trial: what halving needs, so leave that out there')
        if not hints:
            raise
        raise type(error)(f'{error} ({"; ".join(hints)})') from error
