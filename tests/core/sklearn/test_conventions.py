"""ShadhoSearchCV keeps the conventions of scikit-learn: its own checks of estimators pass, without exception."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from shadho import spaces
from shadho.sklearn import ShadhoSearchCV


def small(estimator: Any, space: Any, **options: Any) -> ShadhoSearchCV:
    """Return what scikit-learn checks its RandomizedSearchCV with."""
    options = {'n_trials': 2, 'method': 'random', 'random_state': 0, **options}
    return ShadhoSearchCV(estimator, space, cv=2, error_score='raise', backend='inline', **options)


SEARCHES = [
    small(Ridge(), {'alpha': spaces.log10_uniform(-1, 0)}),
    small(GaussianNB(), {'var_smoothing': spaces.log10_uniform(-10, -9)}),
    small(
        {'small': GaussianNB(), 'large': GaussianNB(var_smoothing=1e-9)},
        {'small': {'var_smoothing': spaces.log10_uniform(-10, -9)}},
    ),
    small(Ridge(), {'alpha': spaces.log10_uniform(-1, 0)}, n_trials=4, halving={'factor': 2}),
    small(GaussianNB(), {'var_smoothing': spaces.log10_uniform(-10, -9)}, n_trials=4, halving={'factor': 2}),
]


EARLY = tuple(map(int, sklearn.__version__.split('.')[:2])) < (1, 6)


@pytest.mark.skipif(EARLY, reason='checks of scikit-learn before 1.6 know how to make its own searches only')
# What the checks themselves do with inf and the like is not ours.
@pytest.mark.filterwarnings('ignore::RuntimeWarning')
@parametrize_with_checks(SEARCHES)
def test_scikit_learns_check_passes(estimator: ShadhoSearchCV, check: Any) -> None:
    check(estimator)
