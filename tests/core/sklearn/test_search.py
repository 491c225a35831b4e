"""ShadhoSearchCV beside scikit-learn's own searches, on real data."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import scipy.stats
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV, cross_val_score
from sklearn.model_selection._search import BaseSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from shadho import spaces
from shadho.backends import Backend
from shadho.backends.inline import Inline
from shadho.errors import ConfigurationError, SpaceError, StorageError
from shadho.records import Result, TrialError, TrialState
from shadho.report import plot_history
from shadho.sklearn import ShadhoSearchCV

IRIS = load_iris(return_X_y=True)
C = spaces.loguniform(0.01, 100)


def searched(estimator: Any, space: Any, data: Any = IRIS, /, fit: Any = {}, **options: Any) -> ShadhoSearchCV:  # noqa: B006
    """Return a small search that has run, one trial after the other."""
    options = {'n_trials': 6, 'backend': 'inline', 'random_state': 0, 'cv': 3, **options}
    return ShadhoSearchCV(estimator, space, **options).fit(*data, **fit)


# --- in the place of RandomizedSearchCV and GridSearchCV ----------------------------------------


@pytest.mark.parametrize('scoring', [None, 'f1_macro', ['accuracy', 'f1_macro'], {'acc': make_scorer(accuracy_score)}])
@pytest.mark.parametrize('return_train_score', [False, True])
def test_results_have_the_keys_and_types_of_those_of_a_randomized_search(
    scoring: Any, return_train_score: bool
) -> None:
    refit = 'acc' if isinstance(scoring, dict) else 'accuracy' if isinstance(scoring, list) else True
    options = {'scoring': scoring, 'refit': refit, 'return_train_score': return_train_score, 'cv': 3, 'random_state': 0}
    space = {'var_smoothing': scipy.stats.loguniform(1e-10, 1e-8), 'priors': [None, [0.2, 0.4, 0.4]]}
    theirs = RandomizedSearchCV(GaussianNB(), space, n_iter=6, **options).fit(*IRIS)
    ours = ShadhoSearchCV(GaussianNB(), space, n_trials=6, backend='inline', **options).fit(*IRIS)
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for key, value in theirs.cv_results_.items():
        own = ours.cv_results_[key]
        assert (type(own), len(own)) == (type(value), len(value)), key
        assert getattr(own, 'dtype', None) == getattr(value, 'dtype', None), key
    assert {name for name in vars(theirs) if name.endswith('_')} <= set(vars(ours))


def test_a_grid_gives_the_results_of_a_grid_search() -> None:
    values = {'C': [0.1, 1.0, 10.0], 'kernel': ['linear', 'rbf']}
    theirs = GridSearchCV(SVC(), values, cv=3, return_train_score=True).fit(*IRIS)
    ours = searched(
        SVC(), {key: spaces.grid(own) for key, own in values.items()}, n_trials=None, return_train_score=True
    )
    order = [ours.cv_results_['params'].index(params) for params in theirs.cv_results_['params']]
    assert len(ours.result_) == 6
    for key, value in theirs.cv_results_.items():
        if key.startswith(('param_', 'split', 'mean_test', 'std_test', 'rank', 'mean_train')):
            assert ours.cv_results_[key][order].tolist() == value.tolist(), key
    assert ours.best_score_ == theirs.best_score_
    assert (ours.predict(IRIS[0]) == ours.best_estimator_.predict(IRIS[0])).all()


def test_what_is_best_is_what_the_search_itself_found_best() -> None:
    search = searched(SVC(), {'C': C, 'gamma': C}, load_breast_cancer(return_X_y=True))
    assert search.result_.best is not None
    assert search.best_score_ == pytest.approx(search.result_.best.loss)
    assert search.best_params_ == search.result_.best.params
    assert search.cv_results_['params'][search.best_index_] == search.best_params_
    assert search.cv_results_['rank_test_score'][search.best_index_] == 1
    again = cross_val_score(
        clone(search.estimator).set_params(**search.best_params_), *load_breast_cancer(return_X_y=True), cv=3
    )
    assert search.best_score_ == pytest.approx(again.mean())


def test_the_same_random_state_gives_the_same_search() -> None:
    one, other, third = (searched(SVC(), {'C': C}, random_state=state, n_trials=12) for state in (1, 1, 2))
    assert one.cv_results_['params'] == other.cv_results_['params'] != third.cv_results_['params']


def test_a_random_state_object_fixes_the_search_and_goes_on() -> None:
    state = np.random.RandomState(0)
    one, other = (searched(SVC(), {'C': C}, random_state=state) for _ in range(2))
    again = searched(SVC(), {'C': C}, random_state=np.random.RandomState(0))
    assert one.best_params_ == again.best_params_ != other.best_params_


def test_a_list_of_dicts_is_a_choice_of_one_of_them() -> None:
    space = [{'kernel': ['linear'], 'C': [1, 10]}, {'kernel': ['rbf'], 'gamma': scipy.stats.loguniform(1e-3, 1)}]
    results = searched(SVC(), space, n_trials=8, policy='fcfs').cv_results_
    assert set(results['param_kernel']) == {'linear', 'rbf'}
    assert (results['param_gamma'].mask == (results['param_kernel'] == 'linear')).all()
    assert (results['param_C'].mask == (results['param_kernel'] == 'rbf')).all()


def test_unsupervised_estimators_need_no_targets() -> None:
    search = searched(PCA(), {'n_components': spaces.grid([1, 2, 3, 4])}, (IRIS[0],), n_trials=None)
    assert search.best_params_ == GridSearchCV(PCA(), {'n_components': [1, 2, 3, 4]}, cv=3).fit(IRIS[0]).best_params_
    assert search.transform(IRIS[0]).shape == (150, search.best_params_['n_components'])


def test_a_regressor_is_one_and_a_classifier_is_one() -> None:
    search = searched(Ridge(), {'alpha': C}, load_diabetes(return_X_y=True))
    assert is_regressor(search) and not is_classifier(search)
    assert search.score(*load_diabetes(return_X_y=True)) > 0.4
    assert is_classifier(ShadhoSearchCV({'a': SVC(), 'b': GaussianNB()}, {}))


def test_a_search_can_be_cloned_changed_and_pickled() -> None:
    search = ShadhoSearchCV(make_pipeline(StandardScaler(), SVC()), {'svc__C': C}, n_trials=3, backend='inline', cv=2)
    other = clone(search).set_params(estimator__svc__kernel='linear', n_trials=2).fit(*IRIS)
    assert (search.n_trials, search.estimator.get_params()['svc__kernel']) == (3, 'rbf')
    assert len(other.cv_results_['params']) == 2
    back = pickle.loads(pickle.dumps(other))
    assert (back.predict(IRIS[0]) == other.predict(IRIS[0])).all()
    assert len(list(back.result_)) == 2


def test_a_search_can_be_an_estimator_of_a_cross_validation() -> None:
    search = ShadhoSearchCV(SVC(), {'C': C}, n_trials=2, backend='inline', cv=2)
    assert cross_val_score(search, *IRIS, cv=3).min() > 0.5


def test_without_refit_there_are_results_but_no_predictions() -> None:
    search = searched(SVC(), {'C': C}, refit=False)
    assert search.best_params_ == search.cv_results_['params'][search.best_index_]
    assert not hasattr(search, 'predict')
    assert not hasattr(search, 'best_estimator_')


# --- metrics -------------------------------------------------------------------------------------


def test_the_metric_that_refit_names_is_maximised() -> None:
    search = searched(
        SVC(), {'C': C}, load_breast_cancer(return_X_y=True), scoring=['precision', 'recall'], refit='recall'
    )
    assert search.multimetric_
    assert search.result_.best is not None
    assert search.best_score_ == pytest.approx(search.result_.best.loss)
    assert search.best_score_ == search.cv_results_['mean_test_recall'].max()
    assert search.cv_results_['mean_test_precision'].argmax() != search.best_index_
    assert set(search.scorer_) == {'precision', 'recall'}


def test_refit_may_be_a_function_of_the_results() -> None:
    search = searched(
        SVC(), {'C': C}, scoring=['accuracy', 'f1_macro'],
        refit=lambda results: int(np.argmin(results['param_C'].astype(float))),
    )  # fmt: skip
    assert search.best_params_['C'] == min(search.cv_results_['param_C'])
    assert not hasattr(search, 'best_score_')


def test_a_function_may_score_by_several_metrics_at_once() -> None:
    def scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
        right = float((estimator.predict(X) == y).mean())
        return {'right': right, 'wrong': 1 - right}

    search = searched(SVC(), {'C': C}, scoring=scores, refit='right')
    assert search.best_score_ == search.cv_results_['mean_test_right'].max()
    with pytest.raises(ValueError, match='refit'):
        searched(SVC(), {'C': C}, scoring=scores, refit='else')


# --- spaces of estimators -------------------------------------------------------------------------


def test_names_of_a_pipelines_parameters_may_be_flat_or_nested() -> None:
    pipeline = make_pipeline(StandardScaler(), SVC())
    flat = searched(pipeline, {'svc__C': C, 'svc__gamma': C})
    nested = searched(pipeline, {'svc': {'C': C, 'gamma': C}})
    assert flat.cv_results_['params'] == nested.cv_results_['params']
    assert set(flat.best_params_) == {'svc__C', 'svc__gamma'}


def test_names_of_exclusive_options_are_labels() -> None:
    space = {
        'exclusive': True,
        'straight': {'kernel': 'linear', 'C': C},
        'bent': {'kernel': ['rbf', 'poly'], 'C': C, 'gamma': C},
    }
    search = searched(SVC(), space, n_trials=10, policy='fcfs')
    linear = search.cv_results_['param_kernel'] == 'linear'
    assert 0 < linear.sum() < 10
    assert (search.cv_results_['param_gamma'].mask == linear).all()
    assert {search.result_.forest.tree(index).label for index in range(2)} == {'straight', 'bent'}


def test_a_step_may_be_one_of_several_estimators_with_parameters_of_their_own() -> None:
    pipeline = Pipeline([('reduce', 'passthrough'), ('svc', SVC())])
    space = {
        'reduce': {
            'exclusive': True,
            'pca': (PCA(), {'n_components': spaces.randint(1, 4)}),
            'best': (SelectKBest(), {'k': spaces.randint(1, 4)}),
            'all': 'passthrough',
        },
        'svc': {'C': C},
    }
    search = searched(pipeline, space, n_trials=12, policy='fcfs')
    steps = [type(step).__name__ for step in search.cv_results_['param_reduce']]
    assert set(steps) == {'PCA', 'SelectKBest', 'str'}
    assert [name == 'PCA' for name in steps] == (~search.cv_results_['param_reduce__n_components'].mask).tolist()


def test_a_dict_of_estimators_is_a_choice_among_them() -> None:
    estimators = {
        'svm': make_pipeline(StandardScaler(), SVC()),
        'forest': RandomForestClassifier(5),
        'bayes': GaussianNB(),
    }
    space = {'svm': {'svc__C': C}, 'forest': {'max_depth': spaces.randint(1, 4)}}
    search = searched(estimators, space, n_trials=9, policy='fcfs')
    results = search.cv_results_
    assert set(results['param_estimator']) == set(estimators)
    assert (results['param_svm__svc__C'].mask == (results['param_estimator'] != 'svm')).all()
    assert type(search.best_estimator_) is type(estimators[search.best_params_['estimator']])
    assert search.score(*IRIS) > 0.9
    assert search.classes_.tolist() == [0, 1, 2]
    assert 'svc__C' in str(search.best_params_) or search.best_params_['estimator'] != 'svm'


def test_a_parameter_named_estimator_is_a_parameter() -> None:
    space = {'estimator': [DecisionTreeClassifier(max_depth=1), GaussianNB()], 'n_estimators': [2, 3]}
    search = searched(BaggingClassifier(random_state=0), space, n_trials=3)
    assert set(search.best_params_) == {'estimator', 'n_estimators'}
    assert isinstance(search.best_estimator_, BaggingClassifier)


def test_values_that_are_dicts_or_lists_stay_what_they_are() -> None:
    search = searched(SVC(), {'class_weight': [{0: 1, 1: 2, 2: 1}, 'balanced', None], 'C': C})
    assert {str(value) for value in search.cv_results_['param_class_weight']} > {'balanced'}
    assert any(isinstance(value, dict) for value in search.cv_results_['param_class_weight'])


@pytest.mark.parametrize(
    ('estimator', 'space', 'message'),
    [
        (SVC(), {'c': C}, "Invalid parameter 'c' for estimator SVC"),
        (SVC(), C, 'must be a dict of its parameters'),
        (SVC(), {'exclusive': True, 'C': C, 'gamma': C}, 'names of options are labels'),
        (make_pipeline(SVC()), {'svc__C': C, 'svc': {'C': C}}, "'svc__C' twice"),
        ({'svm': SVC()}, {'smv': {'C': C}}, "did you mean 'svm'"),
        ({}, {}, 'empty dict'),
        ({'svm': SVC(), 'ridge': Ridge()}, {}, 'of different kinds'),
        (SVC(), {'C': np.random.RandomState}, 'rvs|Invalid|must be'),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_before_anything_is_fitted(
    estimator: Any, space: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        searched(estimator, space)


class OnlyDraws:
    """A distribution as RandomizedSearchCV takes it, without quantiles."""

    def rvs(self, random_state: Any = None) -> float:
        return 1.0


def test_a_distribution_without_quantiles_is_refused() -> None:
    with pytest.raises(SpaceError, match='no ppf'):
        searched(SVC(), {'C': OnlyDraws()})


# --- what fit passes on ----------------------------------------------------------------------------


class Weighted(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Wants a weight for each sample, and knows how many there were."""

    def __init__(self, a: float = 1.0) -> None:
        self.a = a

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Weighted:
        assert sample_weight is not None and len(sample_weight) == len(X)
        self.total_ = float(np.sum(sample_weight))
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_sample_weights_are_split_with_the_data() -> None:
    search = searched(Weighted(), {'a': C}, fit={'sample_weight': np.full(150, 2.0)})
    assert search.best_estimator_.total_ == 300


def test_groups_are_kept_together() -> None:
    groups = np.arange(150) % 5
    search = searched(GaussianNB(), {'var_smoothing': [1e-9]}, cv=GroupKFold(5), fit={'groups': groups}, n_trials=1)
    expected = cross_val_score(GaussianNB(), *IRIS, groups=groups, cv=GroupKFold(5))
    assert [search.cv_results_[f'split{place}_test_score'][0] for place in range(5)] == expected.tolist()


@pytest.mark.skipif(not hasattr(BaseSearchCV, '_get_routed_params_for_fit'), reason='came with scikit-learn 1.4')
def test_metadata_is_routed_to_who_requests_it() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = Weighted().set_fit_request(sample_weight=True)
        scorer = make_scorer(weighted_accuracy).set_score_request(sample_weight=True)
        given = {'sample_weight': np.full(150, 2.0), 'groups': np.arange(150) % 3}
        search = searched(estimator, {'a': C}, scoring=scorer, cv=GroupKFold(3), fit=given)
        assert search.best_estimator_.total_ == 300
        assert search.best_score_ == pytest.approx(100.0)
        with pytest.raises(TypeError, match='else_'):
            searched(estimator, {'a': C}, scoring=scorer, fit={**given, 'else_': 1})


def weighted_accuracy(y: Any, predicted: Any, sample_weight: Any = None) -> float:
    return float(sample_weight.sum())


def test_all_settings_are_evaluated_on_the_same_splits() -> None:
    search = searched(GaussianNB(), {'priors': [None]}, cv=KFold(3, shuffle=True), n_trials=4, random_state=None)
    assert np.ptp(search.cv_results_['split0_test_score']) == 0


# --- failures ----------------------------------------------------------------------------------------


class Fails(GaussianNB):  # type: ignore[misc]
    """Fails for some settings, and in one split only for others."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        if self.var_smoothing > 1e-9 or (self.var_smoothing > 1e-10 and (X[0] != IRIS[0][0]).any()):
            raise ZeroDivisionError(f'{self.var_smoothing} is too much')
        return super().fit(X, y)


SMOOTHING = {'var_smoothing': [1e-12, 1e-10, 5e-10, 1e-8]}


def test_a_setting_that_fails_scores_error_score_and_warns() -> None:
    with pytest.warns(FitFailedWarning, match='ZeroDivisionError') as caught, warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'One or more of the test scores')
        search = searched(Fails(), {'var_smoothing': spaces.grid(SMOOTHING['var_smoothing'])}, n_trials=None)
    assert len(caught) == 1
    means = dict(zip(search.cv_results_['param_var_smoothing'], search.cv_results_['mean_test_score']))
    assert np.isnan(means[1e-8]) and np.isnan(means[5e-10]) and means[1e-12] > 0.9
    assert search.best_params_['var_smoothing'] in (1e-12, 1e-10)
    place = list(means).index(5e-10)
    splits = [search.cv_results_[f'split{split}_test_score'][place] for split in range(3)]
    assert 0 < sum(np.isnan(splits)) < 3


def test_a_number_as_error_score_counts() -> None:
    with pytest.warns(FitFailedWarning):
        search = searched(Fails(), {'var_smoothing': spaces.grid([1e-12, 1e-8])}, n_trials=None, error_score=0.0)
    assert sorted(search.cv_results_['mean_test_score'])[0] == 0.0


def test_all_fits_that_fail_are_an_error_with_its_reason() -> None:
    with pytest.raises(ValueError, match='(?s)All the 6 fits failed.*ZeroDivisionError'):
        searched(Fails(), {'var_smoothing': [1e-8, 2e-8]}, n_trials=3)


def test_error_score_raise_raises_what_the_estimator_raised() -> None:
    with pytest.raises(ZeroDivisionError, match='too much'):
        searched(Fails(), {'var_smoothing': [1e-8]}, error_score='raise')


def test_what_a_scoring_function_raises_is_raised() -> None:
    with pytest.raises(AttributeError, match='predict_proba'):
        searched(SVC(), {'C': C}, scoring=['accuracy', 'neg_log_loss'], refit='accuracy', error_score='raise')


class Ends(Inline):
    """Reports of every setting with a small C that its process ended in one way or another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def poll(self, timeout: float | None) -> Sequence[Result]:
        results = super().poll(timeout)
        return [self._ended(result) if result.results['score'] < 0.9 else result for result in results]

    def _ended(self, result: Result) -> Result:
        error = TrialError(self.kind, 'it is gone')
        return attrs.evolve(result, state=TrialState.FAILED, loss=None, results={}, error=error)


POOR = {'C': spaces.grid([1e-4, 1.0])}


@pytest.mark.parametrize('kind', ['crash', 'timeout', 'memory', 'lost', 'result'])
@pytest.mark.parametrize(
    'options', [{}, {'scoring': ['accuracy', 'f1_macro'], 'refit': 'accuracy'}, {'return_train_score': True}]
)
@pytest.mark.filterwarnings('ignore:One or more of the')
def test_a_setting_whose_process_ends_scores_error_score(kind: str, options: Any) -> None:
    with pytest.warns(FitFailedWarning, match=f'(?s)3 fits failed out of a total of 6.*{kind}: it is gone'):
        search = searched(SVC(), POOR, backend=Ends(kind), n_trials=None, **options)
    assert search.best_params_ == {'C': 1.0}
    means = next(search.cv_results_[key] for key in search.cv_results_ if key.startswith('mean_test'))
    assert np.isnan(means).tolist() == [params['C'] < 1 for params in search.cv_results_['params']]


def test_a_number_as_error_score_stands_for_a_setting_whose_process_ends() -> None:
    with pytest.warns(FitFailedWarning):
        search = searched(SVC(), POOR, backend=Ends('crash'), n_trials=None, error_score=-1.0)
    assert min(search.cv_results_['mean_test_score']) == -1.0


def test_settings_that_all_end_their_processes_are_an_error_with_its_reason() -> None:
    with pytest.raises(ValueError, match='(?s)All the 3 fits failed.*crash: it is gone'):
        searched(SVC(), {'C': [1e-4]}, backend=Ends('crash'), n_trials=1)


def test_a_setting_whose_process_ends_is_an_error_where_every_error_is() -> None:
    with pytest.raises(ConfigurationError, match=r"\{'C': 0.0001\} failed \(crash\)"):
        searched(SVC(), POOR, backend=Ends('crash'), n_trials=None, error_score='raise')


@pytest.mark.filterwarnings('ignore:One or more of the')
def test_an_estimator_that_would_end_the_program_fails_one_setting() -> None:
    class Exits(GaussianNB):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            if self.var_smoothing > 1e-9:
                sys.exit(3)
            return super().fit(X, y)

    with pytest.warns(FitFailedWarning, match='SystemExit: 3'):
        search = searched(Exits(), {'var_smoothing': spaces.grid([1e-8, 1e-10])}, n_trials=None)
    assert search.best_params_ == {'var_smoothing': 1e-10}


@pytest.mark.filterwarnings('ignore:One or more of the')
def test_a_crash_costs_one_setting_only() -> None:
    class Fragile(GaussianNB):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            if self.var_smoothing == 1.0:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().fit(X, y)

    with pytest.warns(FitFailedWarning, match='3 fits failed out of a total of 6'):
        search = searched(
            Fragile(), {'var_smoothing': spaces.grid([1.0, 1e-9])}, n_trials=None, backend='local', n_jobs=1
        )
    assert search.best_params_ == {'var_smoothing': 1e-9}


def test_a_search_without_time_for_a_trial_says_so() -> None:
    with pytest.raises(ConfigurationError, match='no trial finished'):
        searched(SVC(), {'C': C}, timeout=1e-9)


# --- storage and backends ------------------------------------------------------------------------------


def test_a_recorded_search_goes_on(tmp_path: Path) -> None:
    options = {'storage': tmp_path / 'svm.db', 'exp_key': 'svm'}
    first = searched(SVC(), {'C': C}, n_trials=3, **options)
    second = searched(SVC(), {'C': C}, n_trials=5, **options)
    whole = searched(SVC(), {'C': C}, n_trials=5)
    assert second.cv_results_['params'][:3] == first.cv_results_['params']
    assert second.cv_results_['mean_fit_time'][:3].tolist() == first.cv_results_['mean_fit_time'].tolist()
    assert second.cv_results_['params'] == whole.cv_results_['params']
    assert second.cv_results_['mean_test_score'].tolist() == whole.cv_results_['mean_test_score'].tolist()


@pytest.mark.parametrize(
    ('estimator', 'rows', 'options', 'other'),
    [
        (SVC(), 140, {}, 'another data and splits'),
        (SVC(), 150, {'cv': 4}, 'another splits'),
        (SVC(), 150, {'scoring': 'f1_macro'}, 'another scoring'),
        (SVC(), 150, {'scoring': ['accuracy', 'f1_macro'], 'refit': 'f1_macro'}, 'another scoring'),
        (SVC(kernel='linear'), 150, {}, 'another estimator'),
    ],
)
def test_a_recorded_search_refuses_what_its_scores_cannot_be_compared_with(
    estimator: Any, rows: int, options: Any, other: str, tmp_path: Path
) -> None:
    path = tmp_path / 'svm.db'
    searched(SVC(), {'C': C}, n_trials=2, storage=path)
    with pytest.raises(StorageError, match=f'{other}, so the scores cannot be compared'):
        searched(estimator, {'C': C}, tuple(own[:rows] for own in IRIS), n_trials=2, storage=path, **options)


def keeping(columns: int) -> ColumnTransformer:
    return ColumnTransformer([('keep', 'passthrough', [number % 4 for number in range(columns)])])


def test_estimators_are_told_apart_however_long_their_text_is(tmp_path: Path) -> None:
    few, many = (make_pipeline(keeping(columns), GaussianNB()) for columns in (40, 80))
    assert repr(few) == repr(many)
    options: Any = {'n_trials': 1, 'storage': tmp_path / 'nb.db'}
    searched(few, {'gaussiannb__var_smoothing': C}, **options)
    with pytest.raises(StorageError, match='another estimator'):
        searched(many, {'gaussiannb__var_smoothing': C}, **options)


def test_estimators_among_the_values_of_a_space_are_told_apart_too(tmp_path: Path) -> None:
    pipeline = Pipeline([('keep', 'passthrough'), ('nb', GaussianNB())])
    options: Any = {'n_trials': 1, 'storage': tmp_path / 'nb.db'}
    searched(pipeline, {'keep': [keeping(40), 'passthrough']}, **options)
    assert len(searched(pipeline, {'keep': [keeping(40), 'passthrough']}, **options).result_) == 1
    with pytest.raises(StorageError, match='another estimator'):
        searched(pipeline, {'keep': [keeping(80), 'passthrough']}, **options)


SCRIPT = """
import sys
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from shadho.sklearn import ShadhoSearchCV

POWER = 1

class Token:
    def __init__(self):
        self.words = {'some', 'words', 'in', 'a', 'set'}

class Custom(TransformerMixin, BaseEstimator):
    def __init__(self, token=None, state=None):
        self.token, self.state = token, state
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return X ** POWER

def distance(a, b):
    return abs(a - b).sum()

pipeline = make_pipeline(
    FunctionTransformer(lambda X: X + 1), FunctionTransformer(np.log1p), Custom(Token(), np.random.RandomState(0)),
    KNeighborsClassifier(metric=distance),
)
scoring = {'f2': make_scorer(fbeta_score, beta=2, average='macro'), 'right': lambda estimator, X, y: float(estimator.score(X, y))}
search = ShadhoSearchCV(
    pipeline, {'functiontransformer-1__func': [lambda X: X, np.sqrt], 'kneighborsclassifier__n_neighbors': [1, 2, 3]},
    n_trials=int(sys.argv[1]), cv=2, scoring=scoring, refit='f2', storage='knn.db', backend='inline', random_state=0,
)
print(len(search.fit(*load_iris(return_X_y=True)).cv_results_['params']))
"""


def test_the_same_script_goes_on_whatever_its_estimator_holds(tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    for count in ('1', '2'):  # each with another order of sets, and other addresses
        run = subprocess.run(
            [sys.executable, script, count], env={**os.environ, 'PYTHONHASHSEED': count}, capture_output=True, text=True
        )
        assert run.stdout == f'{count}\n', run.stderr


@pytest.mark.parametrize('error_score', [np.nan, 0.0])
@pytest.mark.filterwarnings('ignore:One or more of the')
def test_a_search_goes_on_with_other_options_of_its_results(error_score: float, tmp_path: Path) -> None:
    space = {'var_smoothing': spaces.grid([1e-12, 1e-8, 1e-11])}
    options: Any = {'storage': tmp_path / 'nb.db'}
    with pytest.warns(FitFailedWarning):
        first = searched(Fails(), space, n_trials=2, return_train_score=error_score == 0.0, **options)
    options |= {'error_score': error_score, 'return_train_score': error_score != 0.0}
    with pytest.warns(FitFailedWarning):
        results = searched(Fails(), space, n_trials=3, **options).cv_results_
    assert results['params'][:2] == first.cv_results_['params']
    failed = results['mean_test_score'][results['param_var_smoothing'] == 1e-8]
    assert np.array_equal(failed, [error_score], equal_nan=True)
    assert ('mean_train_score' in results) == (error_score != 0.0)


def test_the_result_can_be_reported() -> None:
    import matplotlib

    matplotlib.use('Agg')
    search = searched(SVC(), {'C': C})
    assert 'best score 0.9' in search.result_.summary()
    assert plot_history(search.result_) is not None


@pytest.mark.parametrize(('n_jobs', 'name'), [(1, 'inline'), (2, 'local')])
def test_n_jobs_says_how_many_trials_run_at_a_time(n_jobs: int, name: str) -> None:
    search = searched(SVC(), {'C': C}, n_trials=3, n_jobs=n_jobs, backend='auto')
    (use,) = search.result_.classes
    assert (use.compute_class.slots, use.compute_class.name == 'inline') == (n_jobs, name == 'inline')
    assert len(search.cv_results_['params']) == 3


def test_n_jobs_is_refused_for_a_backend_that_has_slots_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match='slots of its own'):
        searched(SVC(), {'C': C}, n_jobs=2, backend='workqueue')


def test_one_job_has_a_process_where_a_trial_may_have_to_be_ended() -> None:
    backend = ShadhoSearchCV(SVC(), {}, n_jobs=1, search_options={'trial_timeout': 60})._backend()
    assert isinstance(backend, Backend)
    assert backend.name == 'local'


def test_one_job_is_what_the_inline_backend_does() -> None:
    assert len(searched(SVC(), {'C': C}, n_trials=1, n_jobs=1, backend='inline').result_) == 1


# --- messages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'n_trials': 0}, 'n_trials must be an integer of 1 or more, or None; got 0'),
        (
            {'n_trials': None},
            r'never end: give timeout=<seconds>, n_trials=<trials>.*\(trials_per_tree: in search_options\)',
        ),
        ({'timeout': -1}, 'timeout must be a number of seconds'),
        ({'random_state': True}, 'random_state must be an integer of 0 or more'),
        ({'method': 'grid'}, r'give grid_points=n .*\(grid_points: in search_options\)'),
        ({'search_options': {'trial_timeout': -1}}, r'trial_timeout must be .*\(trial_timeout: in search_options\)'),
        ({'search_options': {'trial_timeout': 1}}, r'cannot end a trial after trial_timeout.*: in search_options\)'),
        ({'search_options': {'plugins': 3}}, r'plugins must be .*\(plugins: in search_options\)'),
        ({'search_options': {'max_tasks': 3}}, "'max_tasks' is no option that can be given there"),
    ],
)
def test_messages_name_the_parameters_of_this_search(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        searched(SVC(), {'C': C}, **options)


def test_what_cannot_be_sent_to_a_process_is_said_to_be_of_the_cross_validation() -> None:
    with pytest.raises(ConfigurationError, match='the objective: the cross-validation, with the estimator'):
        searched(SVC(), {'C': C}, backend='local', scoring=Unsendable())


class Unsendable:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        return 1.0


def test_a_search_that_is_complete_names_its_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        searched(SVC(), {'C': C}, n_trials=1, storage=tmp_path / 'svm.db')
    assert 'Raise n_trials to continue' in caplog.text
