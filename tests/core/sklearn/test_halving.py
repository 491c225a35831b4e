"""ShadhoSearchCV with halving, beside HalvingRandomSearchCV, on real data."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.model_selection import HalvingRandomSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from shadho import spaces
from shadho.backends.inline import Inline
from shadho.errors import ConfigurationError, StorageError
from shadho.sklearn import ShadhoSearchCV
from shadho.sklearn.halving import RungByRung

CANCER = load_breast_cancer(return_X_y=True)
DIGITS = load_digits(return_X_y=True)
SMOOTHING = {'var_smoothing': spaces.log10_uniform(-12, 0)}
DEPTH = {'max_depth': spaces.randint(1, 8), 'min_samples_leaf': spaces.randint(1, 20)}


def searched(estimator: Any, space: Any, data: Any = CANCER, **options: Any) -> ShadhoSearchCV:
    options = {'n_trials': 9, 'backend': 'inline', 'random_state': 0, 'cv': 3, 'method': 'random', **options}
    return ShadhoSearchCV(estimator, space, **options).fit(*data)


# --- samples -----------------------------------------------------------------------------------------


def test_only_the_best_third_is_evaluated_with_three_times_as_many_samples() -> None:
    search = searched(GaussianNB(), SMOOTHING, halving='n_samples')
    assert search.n_resources_ == [63, 190, 569]
    assert search.n_candidates_[0] == 9
    assert search.n_candidates_[0] > search.n_candidates_[1] > search.n_candidates_[2] >= 1
    results = search.cv_results_
    assert results['iter'].tolist() == sorted(results['iter'])
    assert [search.n_resources_[rung] for rung in results['iter']] == results['n_resources'].tolist()
    for rung in (0, 1):
        tried, kept = (
            [(score, params) for score, params, at in zip(results['mean_test_score'], results['params'], results['iter']) if at == number]
            for number in (rung, rung + 1)
        )  # fmt: skip
        above = max(tried, key=lambda each: each[0])[1]
        assert above in [params for _, params in kept]
        assert all(params in [other for _, other in tried] for _, params in kept)


def test_results_have_the_keys_and_types_of_those_of_a_halving_random_search() -> None:
    space = {'var_smoothing': scipy.stats.loguniform(1e-12, 1e-1), 'priors': [None, [0.2, 0.8]]}
    options: Any = {'cv': 3, 'random_state': 0, 'return_train_score': True}
    theirs = HalvingRandomSearchCV(GaussianNB(), space, n_candidates=9, **options).fit(*CANCER)
    ours = searched(GaussianNB(), space, halving='n_samples', return_train_score=True)
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for key, value in theirs.cv_results_.items():
        own = ours.cv_results_[key]
        assert type(own) is type(value), key
        assert getattr(own, 'dtype', None) == getattr(value, 'dtype', None), key
    assert (len(ours.n_resources_), ours.n_candidates_[0]) == (theirs.n_iterations_, theirs.n_candidates_[0])


def test_the_last_rung_is_the_whole_training_set() -> None:
    search = searched(GaussianNB(), SMOOTHING, halving='n_samples')
    expected = cross_val_score(GaussianNB(**search.best_params_), *CANCER, cv=3)
    row = search.best_index_
    assert [search.cv_results_[f'split{split}_test_score'][row] for split in range(3)] == expected.tolist()
    assert search.best_score_ == expected.mean()
    assert search.result_.best is not None
    assert search.best_params_ == search.result_.best.params
    assert search.predict(CANCER[0][:2]).shape == (2,)


def by_rung(data: Any, seed: int = 0) -> list[list[Any]]:
    """Return the training samples of each split at each rung."""
    kept: list[Any] = []

    class Kept(ShadhoSearchCV):
        def _run_search(self, objective: Any, *others: Any) -> Any:
            kept.append(objective)
            return super()._run_search(objective, *others)

    Kept(
        GaussianNB(), SMOOTHING, n_trials=1, backend='inline', cv=3, random_state=seed, halving={'min_resources': 50},
    ).fit(*data)  # fmt: skip
    [objective] = kept
    assert isinstance(objective, RungByRung)
    return [[train for train, _ in splits] for splits in objective.splits_by_rung]


def test_the_samples_of_a_rung_are_among_those_of_the_next_one() -> None:
    rungs = by_rung(DIGITS)
    assert [len(split) for split in rungs[0]] == [44, 44, 44]
    for fewer, more in itertools.pairwise(rungs):
        for split, larger in zip(fewer, more):
            assert len(set(split)) == len(split) < len(larger)
            assert set(split) <= set(larger)


def test_samples_are_stratified_and_each_class_is_there_from_the_first_rung() -> None:
    rungs = by_rung(DIGITS)
    for splits in rungs:
        for split in splits:
            counts = np.bincount(DIGITS[1][split], minlength=10)
            assert counts.max() - counts.min() <= 1 + 0.05 * len(split) / 10
    rare = np.array([0] * 560 + [1] * 9)
    for split in by_rung((CANCER[0], rare))[0]:
        assert set(rare[split]) == {0, 1}


def test_random_state_fixes_the_samples() -> None:
    one, same, other = (by_rung(DIGITS, seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(one[0], same[0]))
    assert not all((a == b).all() for a, b in zip(one[0], other[0]))
    first, second = (searched(GaussianNB(), SMOOTHING, halving='n_samples').cv_results_ for _ in range(2))
    assert first['params'] == second['params']
    assert first['mean_test_score'].tolist() == second['mean_test_score'].tolist()


def test_a_regression_and_splits_that_are_masks_are_halved_too() -> None:
    data = load_diabetes(return_X_y=True)
    masks = [(train, ~train) for train in np.arange(442) % np.array([[2], [3]]) == 0]
    search = searched(Ridge(), {'alpha': spaces.log10_uniform(-3, 3)}, data, cv=masks, halving='n_samples')
    assert search.n_resources_[-1] == 442
    assert search.best_score_ == pytest.approx(cross_val_score(Ridge(**search.best_params_), *data, cv=masks).mean())


def test_few_trials_still_bring_one_to_the_whole_training_set() -> None:
    for n_trials in (1, 2, 3, 8):
        search = searched(GaussianNB(), SMOOTHING, n_trials=n_trials, halving='n_samples')
        assert search.cv_results_['n_resources'][search.best_index_] == 569
    trees = {name: GaussianNB() for name in 'ab'}
    search = searched(trees, dict.fromkeys(trees, SMOOTHING), n_trials=6, policy='fcfs', halving='n_samples')
    assert search.cv_results_['n_resources'][search.best_index_] == 569


# --- parameters --------------------------------------------------------------------------------------


def test_a_parameter_grows_from_rung_to_rung_up_to_its_value_in_the_estimator() -> None:
    forest = RandomForestClassifier(n_estimators=18, random_state=0)
    search = searched(forest, DEPTH, halving='n_estimators')
    assert search.n_resources_ == [2, 6, 18]
    assert search.cv_results_['param_n_estimators'].tolist() == search.cv_results_['n_resources'].tolist()
    assert search.best_params_['n_estimators'] == search.best_estimator_.n_estimators == 18
    assert len(search.best_estimator_.estimators_) == 18


def test_a_parameter_of_a_pipeline_with_the_options_of_halving_random_search() -> None:
    pipeline = make_pipeline(StandardScaler(), SGDClassifier(random_state=0, tol=None))
    space = {'sgdclassifier__alpha': spaces.log10_uniform(-6, 0)}
    options = {'resource': 'sgdclassifier__max_iter', 'min_resources': 2, 'max_resources': 16, 'factor': 2}
    search = searched(pipeline, space, halving=options)
    assert search.n_resources_ == [2, 4, 8, 16]
    assert search.best_estimator_[-1].max_iter == 16


def test_estimators_to_choose_from_share_the_resource() -> None:
    estimators = {
        'bagged': RandomForestClassifier(random_state=0),
        'boosted': GradientBoostingClassifier(random_state=0),
    }
    options = {'resource': 'n_estimators', 'max_resources': 9}
    search = searched(estimators, dict.fromkeys(estimators, DEPTH), halving=options, cv=2)
    name = search.best_params_['estimator']
    assert search.best_params_[f'{name}__n_estimators'] == search.best_estimator_.n_estimators == 9


def test_an_estimator_without_parameters_is_compared_at_the_last_rung() -> None:
    estimators = {'bayes': GaussianNB(), 'stump': DecisionTreeClassifier(max_depth=1)}
    space = {'stump': {'min_samples_leaf': spaces.randint(1, 200)}}
    search = searched(estimators, space, n_trials=10, halving='n_samples', policy='fcfs')
    largest = search.cv_results_['n_resources'] == 569
    assert set(search.cv_results_['param_estimator'][largest]) == {'bayes', 'stump'}
    assert search.best_params_ == {'estimator': 'bayes'}


# --- the search --------------------------------------------------------------------------------------


def test_each_setting_of_a_grid_begins_once_and_only_the_best_go_on() -> None:
    space = {'max_depth': spaces.grid([1, 2, 3]), 'min_samples_leaf': spaces.grid([1, 5, 25])}
    search = searched(DecisionTreeClassifier(random_state=0), space, n_trials=None, halving='n_samples')
    assert search.n_candidates_[0] == 9
    assert search.n_candidates_[-1] < 9


def test_processes_evaluate_what_one_process_does() -> None:
    one, other = (
        searched(GaussianNB(), SMOOTHING, halving='n_samples', backend=backend, n_jobs=1)
        for backend in ('inline', 'local')
    )
    assert one.cv_results_['params'] == other.cv_results_['params']
    assert one.cv_results_['mean_test_score'].tolist() == other.cv_results_['mean_test_score'].tolist()


def test_a_recorded_search_goes_on_and_refuses_another_halving(tmp_path: Path) -> None:
    halving = {'resource': 'n_samples', 'min_resources': 60}
    options: Any = {'storage': tmp_path / 'nb.db', 'exp_key': 'nb'}
    searched(GaussianNB(), SMOOTHING, n_trials=4, halving=halving, **options)
    search = searched(GaussianNB(), SMOOTHING, n_trials=9, halving=halving, **options)
    whole = searched(GaussianNB(), SMOOTHING, n_trials=9, halving=halving)
    assert search.n_candidates_[0] == 9
    assert search.best_params_ == whole.best_params_
    with pytest.raises(StorageError, match='another halving, so the scores cannot be compared'):
        searched(GaussianNB(), SMOOTHING, **options)
    with pytest.raises(StorageError, match='judged at other steps'):
        searched(GaussianNB(), SMOOTHING, halving={'min_resources': 20}, **options)


def test_several_metrics_and_a_function_as_refit() -> None:
    options: Any = {'scoring': ['accuracy', 'recall'], 'halving': 'n_samples'}
    search = searched(GaussianNB(), SMOOTHING, refit='recall', **options)
    largest = search.cv_results_['n_resources'] == 569
    assert search.best_score_ == search.cv_results_['mean_test_recall'][largest].max()
    search = searched(GaussianNB(), SMOOTHING, refit=lambda results: 0, **options)
    assert search.best_index_ == 0


class Fails(GaussianNB):  # type: ignore[misc]
    """Fails for large settings, at once or beyond 200 samples."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        if self.var_smoothing > 1e-2 or (self.var_smoothing > 1e-4 and len(X) > 200):
            raise ZeroDivisionError(f'{self.var_smoothing} is too much')
        return super().fit(X, y)


@pytest.mark.filterwarnings('ignore:One or more of the')
def test_a_setting_that_fails_at_a_rung_is_not_the_best() -> None:
    with pytest.warns(FitFailedWarning, match='ZeroDivisionError'):
        search = searched(Fails(), SMOOTHING, n_trials=18, halving='n_samples')
    assert np.isnan(search.cv_results_['mean_test_score']).any()
    assert search.best_params_['var_smoothing'] <= 1e-4
    with pytest.raises(ZeroDivisionError, match='too much'):
        searched(Fails(), SMOOTHING, n_trials=18, halving='n_samples', error_score='raise')


@pytest.mark.filterwarnings('ignore:One or more of the')
def test_where_the_only_one_at_the_last_rung_fails_the_best_is_of_the_rung_before() -> None:
    class FailsWhole(GaussianNB):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            if len(X) in (379, 380):
                raise ZeroDivisionError('whole')
            return super().fit(X, y)

    with pytest.warns(FitFailedWarning):
        search = searched(FailsWhole(), SMOOTHING, halving='n_samples', refit=False)
    assert search.cv_results_['n_resources'][search.best_index_] == 190
    assert search.best_score_ > 0.8


# --- messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('halving', 'message'),
    [
        (True, "halving must be 'n_samples', the name of a parameter .*got True"),
        ({'ressource': 'n_samples'}, "halving has no option 'ressource'; did you mean 'resource'"),
        ({'resource': 3}, "resource must be 'n_samples' or the name of a parameter; got 3"),
        ({'factor': 1}, 'halving: factor must be an integer of 2 or more; got 1'),
        ({'factor': 2.5}, 'halving: factor must be an integer of 2 or more; got 2.5'),
        ({'min_resources': 'most'}, "min_resources must be 'exhaust', 'smallest' or an integer from 1 to 150; got 'most'"),
        ({'min_resources': 151}, 'min_resources must be .* from 1 to 150; got 151'),
        ({'max_resources': 151}, 'max_resources must be an integer from 1 to 150; got 151'),
        ('max_leaf_nodes', "the largest value of 'max_leaf_nodes' is not known, as the estimator has None. Give it: "),
        ({'resource': 'max_leaves', 'max_resources': 9}, "(?s)'max_leaves' is neither 'n_samples' nor a parameter .*Valid"),
        ({'resource': 'max_depth', 'max_resources': 9}, "'max_depth' is also a parameter of the space; leave it out there"),
    ],
)  # fmt: skip
def test_a_halving_that_cannot_be_is_refused_with_what_would_do(halving: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        searched(DecisionTreeClassifier(), DEPTH, load_iris(return_X_y=True), halving=halving)


def test_a_backend_whose_trials_cannot_report_is_refused() -> None:
    class Bare(Inline):
        name = 'bare'
        has_folders = False

    with pytest.raises(ConfigurationError, match="backend='bare' cannot run.*what halving needs"):
        searched(GaussianNB(), SMOOTHING, backend=Bare(), halving='n_samples')
