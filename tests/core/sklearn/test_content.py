"""Digests of what objects hold: equal for equal objects, and different for others, whatever their texts are."""

from __future__ import annotations

import copy
import functools
import pickle
import tempfile
import threading
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import scipy.stats
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.metrics import f1_score, fbeta_score, make_scorer, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from shadho.sklearn.content import digest

WORDS = {f'word {number}': number for number in range(2000)}
FACTOR = 2


def powers(of: int) -> Any:
    return lambda x: x**of


def scaled(x: Any, by: float = 1.0) -> Any:
    return x * by * FACTOR


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return 'Plain()'


class Closed:
    """Cannot be pickled."""

    def __init__(self, value: Any) -> None:
        self.value, self.lock = value, threading.Lock()


def custom(factor: int) -> Any:
    class Custom(BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any = None) -> Any:
            return self

        def predict(self, X: Any) -> Any:
            return X * factor

    return Custom()


PAIRS: dict[str, tuple[Any, Any]] = {
    'number and text': (1, '1'),
    'number and truth': (1, True),
    'nesting': ([1, [2]], [[1], 2]),
    'array': (np.arange(5000.0), np.where(np.arange(5000) == 2500, 0.0, np.arange(5000.0))),
    'type of array': (np.zeros(2, 'f4'), np.zeros(2, 'f8')),
    'shape': (np.zeros((2, 3)), np.zeros((3, 2))),
    'array of objects': (np.array(['a', None], dtype=object), np.array(['a', 'b'], dtype=object)),
    'sparse': (scipy.sparse.csr_matrix(np.eye(40)), scipy.sparse.csr_matrix(np.diag(np.arange(40)))),
    'table': (pd.DataFrame({'a': range(200)}), pd.DataFrame({'a': [*range(199), 0]})),
    'vocabulary': (TfidfVectorizer(vocabulary=WORDS), TfidfVectorizer(vocabulary={**WORDS, 'word 1999': 0})),
    'random state': (np.random.RandomState(0), np.random.RandomState(1)),
    'generator': (np.random.default_rng(0), np.random.default_rng(1)),
    'distribution': (scipy.stats.uniform(0, 1), scipy.stats.uniform(0, 2)),
    'library function': (np.log1p, np.sqrt),
    'metric': (f1_score, recall_score),
    'scorer': (make_scorer(fbeta_score, beta=2), make_scorer(fbeta_score, beta=3)),
    'scorers': ({'a': make_scorer(f1_score)}, {'a': make_scorer(recall_score)}),
    'lambda': (lambda x: x + 1, lambda x: x + 2),
    'closure': (powers(2), powers(3)),
    'partial': (functools.partial(scaled, by=2), functools.partial(scaled, by=3)),
    'method': (Plain(1).__repr__, Plain(2).__repr__),
    'object': (Plain([1]), Plain([2])),
    'object with a lock': (Closed(1), Closed(2)),
    'class': (int, float),
    'parameter': (SVC(C=1), SVC(C=2)),
    'kernel': (GaussianProcessRegressor(RBF(2) + WhiteKernel()), GaussianProcessRegressor(RBF(3) + WhiteKernel())),
    'step': (
        make_pipeline(FunctionTransformer(powers(2)), SVC()),
        make_pipeline(FunctionTransformer(powers(3)), SVC()),
    ),
    'code of a class': (custom(2), custom(3)),
}


@pytest.mark.parametrize('kind', PAIRS)
def test_different_content_has_different_digests(kind: str) -> None:
    one, other = PAIRS[kind]
    assert digest(one) != digest(other)


# Of a lock there is no copy, and of the random state that all of scipy.stats shares another one.
@pytest.mark.parametrize('kind', sorted(PAIRS.keys() - {'object with a lock', 'distribution'}))
def test_a_copy_has_the_same_digest(kind: str) -> None:
    one, _ = PAIRS[kind]
    assert digest(one) == digest(one) == digest(copy.deepcopy(one))


def test_the_order_of_dicts_and_sets_does_not_matter() -> None:
    assert digest({'a': 1, 'b': {2, 'c'}}) == digest({'b': {'c', 2}, 'a': 1})


def test_it_does_not_matter_which_parts_are_one_object() -> None:
    part = [1.5, ('a',)]
    assert digest([part, part]) == digest(pickle.loads(pickle.dumps([part, [1.5, ('a',)]])))


def test_what_holds_itself_has_a_digest() -> None:
    one: list[Any] = [1]
    one.append(one)
    assert digest(one) == digest(copy.deepcopy(one)) != digest([1])


def test_a_function_is_known_by_the_constants_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(scaled)
    monkeypatch.setitem(globals(), 'FACTOR', 3)
    assert digest(scaled) != before


def test_an_estimator_is_known_by_its_parameters_and_not_by_what_it_has_learned() -> None:
    assert digest(SVC()) == digest(SVC().fit([[0], [1]], [0, 1]))


def test_an_estimator_that_keeps_what_it_has_learned_is_known_by_that_too() -> None:
    frozen = pytest.importorskip('sklearn.frozen', reason='came with scikit-learn 1.6')
    one, other = (frozen.FrozenEstimator(SVC().fit(X, [0, 1])) for X in ([[0], [1]], [[0], [2]]))
    assert digest(one) != digest(other)


def test_parameters_that_change_no_score_do_not_matter() -> None:
    one = make_pipeline(FunctionTransformer(), SVC(), memory=tempfile.mkdtemp(), verbose=True)
    other = make_pipeline(FunctionTransformer(), SVC(verbose=True), memory=joblib.Memory(tempfile.mkdtemp(), verbose=0))
    assert digest(one) == digest(other)
