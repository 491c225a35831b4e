"""The callbacks of scikit-learn 1.9 where trials run in other processes; its own tests ask the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

utils = pytest.importorskip('sklearn.callback.tests._utils', reason='callbacks came with scikit-learn 1.9')

from sklearn.model_selection import GridSearchCV  # noqa: E402

from shadho import spaces  # noqa: E402
from shadho.sklearn import ShadhoSearchCV  # noqa: E402

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
OPTIONS: dict[str, Any] = {'cv': 2, 'scoring': 'r2', 'refit': False}


def tasks(search: Any) -> Counter[tuple[str, int]]:
    """Return which tasks a callback is told of, by names and numbers."""
    callback = utils.RecordingAutoPropagatedCallback()
    search.set_callbacks(callback).fit(X, Y)
    ended = [own['context'] for own in callback.record if own['name'] == 'on_fit_task_end']
    return Counter((context.task_name, context.task_id) for context in ended)


@pytest.mark.parametrize('options', [{'backend': 'inline'}, {'backend': 'local', 'n_jobs': 1}])
def test_callbacks_are_told_of_the_tasks_of_a_grid_search(options: Any) -> None:
    theirs = GridSearchCV(utils.MaxIterEstimator(), {'max_iter': [2, 2]}, **OPTIONS)
    ours = ShadhoSearchCV(
        utils.MaxIterEstimator(), {'max_iter': spaces.grid([2, 2])}, n_trials=None, **OPTIONS, **options
    )
    assert tasks(ours) == tasks(theirs)


def test_callbacks_are_told_of_each_fit_of_each_rung_by_a_number_of_its_own() -> None:
    search = ShadhoSearchCV(
        utils.MaxIterEstimator(), {'max_iter': spaces.grid([1, 2, 3, 4])}, n_trials=None, backend='inline',
        halving={'factor': 2, 'min_resources': 10}, **OPTIONS,
    )  # fmt: skip
    numbers = {number for name, number in tasks(search) if name == 'fit'}
    assert len(numbers) == OPTIONS['cv'] * sum(search.n_candidates_)


def test_an_exception_that_ends_a_search_is_the_estimators_own_also_with_callbacks() -> None:
    search = ShadhoSearchCV(
        utils.MaxIterEstimator(), {'max_iter': ['none']}, n_trials=1, backend='inline', error_score='raise', **OPTIONS
    )
    with pytest.raises(TypeError, match='str'):
        tasks(search)
