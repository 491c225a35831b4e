"""Problems that fit models of scikit-learn to parts of its data sets, in about ten milliseconds.

A model that cannot be fitted is a failed trial. The least known losses are those of thousands of trials by
two methods, the best of them varied at random; where a run finds lesser ones, as with another release of
scikit-learn, those count.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import numpy as np

from .problems import Problem, problem
from .spaces import Branch, Category, Params, Real, Whole

MODELS: dict[str, Problem] = {}
"""By name, in the order of the tables."""

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@cache
def data(name: str, train: int, test: int) -> Data:
    """Return standardised inputs to train and to test with, then their classes."""
    from sklearn import datasets, model_selection, preprocessing

    inputs, classes = getattr(datasets, f'load_{name}')(return_X_y=True)
    own, other, own_classes, other_classes = model_selection.train_test_split(
        inputs, classes, train_size=train, test_size=test, random_state=0
    )
    scaler = preprocessing.StandardScaler().fit(own)
    return scaler.transform(own), scaler.transform(other), own_classes, other_classes


def fitted(model: Any, inputs: np.ndarray, classes: np.ndarray) -> bool:
    """Fit a model in place; return whether that went well. Not to have converged is no failure here."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            model.fit(inputs, classes)
        except ValueError:
            return False
        return True


def log_loss(model: Any, inputs: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean negative log probability of the true classes, which are 0 and on."""
    with np.errstate(all='ignore'):
        chances = model.predict_proba(inputs)[np.arange(len(classes)), classes]
    return float(-np.log(np.clip(chances, 1e-9, 1)).mean()) if np.isfinite(chances).all() else math.nan


@problem(
    'SVM digits', 'models',
    [
        Real('C', 1e-3, 1e3, log=True),
        Branch('kernel', {
            'linear': [],
            'curved': [
                Real('gamma', 1e-5, 1e1, log=True),
                Branch('shape', {
                    'rbf': [], 'poly': [Whole('degree', 2, 5), Real('coef0', 0, 2)], 'sigmoid': [Real('coef0', 0, 2)],
                }),
            ],
        }),
    ],
    best=0.35723,
    into=MODELS,
)  # fmt: skip
def svm_digits(params: Params) -> float:
    """Log loss of telling digits above 4, its values as log odds; an error rate hardly tells settings apart."""
    from sklearn.svm import SVC

    own = {name: value for name, value in params.items() if name not in ('kernel', 'shape')}
    model = SVC(kernel=params.get('shape', 'linear'), max_iter=1000, **own)
    inputs, others, digits, other_digits = data('digits', 200, 500)
    if not fitted(model, inputs, digits > 4):
        return math.nan
    return float(np.logaddexp(0, -model.decision_function(others) * np.where(other_digits > 4, 1, -1)).mean())


@problem(
    'MLP digits', 'models',
    [
        Real('rate', 1e-4, 1, log=True), Real('alpha', 1e-6, 1e1, log=True), Category('batch', ('8', '16', '32')),
        Category('activation', ('relu', 'tanh', 'logistic')), Category('width', ('8', '16', '32')),
        Branch('second', {'none': [], 'hidden': [Category('width2', ('8', '16', '32'))]}),
        Branch('solver', {
            'sgd': [Real('momentum', 0, 1)],
            'adam': [Real('beta_1', 0.5, 0.999), Real('beta_2', 0.9, 0.9999)],
        }),
    ],
    best=0.27026,
    into=MODELS,
)  # fmt: skip
def mlp_digits(params: Params) -> float:
    """Log loss after ten epochs; few sizes, as each begins with other weights, and the luckiest would win."""
    from sklearn.neural_network import MLPClassifier

    sizes = [int(params[name]) for name in ('width', 'width2') if name in params]
    names = ('activation', 'alpha', 'solver', 'momentum', 'beta_1', 'beta_2')
    own = {name: params[name] for name in names if name in params}
    batch, rate = int(params['batch']), params['rate']
    model = MLPClassifier(sizes, learning_rate_init=rate, batch_size=batch, max_iter=10, random_state=0, **own)
    inputs, others, classes, other_classes = data('digits', 150, 400)
    return log_loss(model, others, other_classes) if fitted(model, inputs, classes) else math.nan


@problem(
    'Boosting cancer', 'models',
    [
        Whole('n_estimators', 5, 40), Real('learning_rate', 1e-3, 1, log=True), Whole('max_depth', 1, 6),
        Whole('min_samples_leaf', 1, 30), Real('ccp_alpha', 1e-5, 1e-1, log=True),
    ],
    best=0.11179,
    into=MODELS,
)  # fmt: skip
def boosting_cancer(params: Params) -> float:
    """Log loss of trees that are boosted, without chance."""
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(random_state=0, **params)
    inputs, others, classes, other_classes = data('breast_cancer', 120, 400)
    return log_loss(model, others, other_classes) if fitted(model, inputs, classes) else math.nan


# --- cross-validated errors: rough, in steps, of models as they are ----------------------------------


@cache
def folds(name: str, rows: int) -> tuple[Data, ...]:
    """Return three folds of some rows of a data set: standardised inputs to train and to test with, then targets."""
    from sklearn import datasets, model_selection, preprocessing

    inputs, targets = getattr(datasets, f'load_{name}')(return_X_y=True)
    kept = np.random.default_rng(0).permutation(len(inputs))[:rows]
    made = []
    for train, test in model_selection.KFold(3).split(kept):
        scaler = preprocessing.StandardScaler().fit(inputs[kept[train]])
        own, other = (scaler.transform(inputs[kept[part]]) for part in (train, test))
        made.append((own, other, targets[kept[train]], targets[kept[test]]))
    return tuple(made)


def cross_validated(model: Any, name: str, rows: int, squared: bool = False) -> float:
    """Return the mean error over three folds: the share of wrong classes, or squares over the variance."""
    errors = []
    for inputs, others, targets, other_targets in folds(name, rows):
        if not fitted(model, inputs, targets):
            return math.nan
        guessed = model.predict(others)
        if squared:
            errors.append(np.mean((guessed - other_targets) ** 2) / np.var(other_targets))
        else:
            errors.append(np.mean(guessed != other_targets))
    return float(np.mean(errors)) if np.isfinite(errors).all() else math.nan


@problem(
    'SVR diabetes', 'models',
    [
        Real('C', 1e-2, 1e4, log=True), Real('epsilon', 1e-2, 1e2, log=True), Real('gamma', 1e-5, 1e1, log=True),
        Category('kernel', ('rbf', 'sigmoid', 'laplacian')), Real('coef0', -1, 1),
    ],
    best=0.466,
    into=MODELS,
)  # fmt: skip
def svr_diabetes(params: Params) -> float:
    """Squares of support vector regression: a kernel of ours among those of scikit-learn."""
    from sklearn.metrics.pairwise import laplacian_kernel
    from sklearn.svm import SVR

    kernel = params['kernel']
    if kernel == 'laplacian':
        kernel = lambda one, two: laplacian_kernel(one, two, params['gamma'])  # noqa: E731  # a kernel of one model
    own = {name: params[name] for name in ('C', 'epsilon', 'gamma', 'coef0')}
    return cross_validated(SVR(kernel=kernel, max_iter=2000, **own), 'diabetes', 300, squared=True)


@problem(
    'Forest digits', 'models',
    [
        Whole('n_estimators', 1, 8), Whole('max_depth', 1, 12), Whole('min_samples_leaf', 1, 20),
        Real('max_features', 0.05, 1), Category('criterion', ('gini', 'entropy')), Category('bootstrap', (True, False)),
    ],
    best=0.16,
    into=MODELS,
)  # fmt: skip
def forest_digits(params: Params) -> float:
    """Share of wrong classes of a small random forest."""
    from sklearn.ensemble import RandomForestClassifier

    return cross_validated(RandomForestClassifier(random_state=0, **params), 'digits', 250)


@problem(
    'Neighbours digits', 'models',
    [
        Whole('n_neighbors', 1, 40), Category('weights', ('uniform', 'distance')),
        Whole('components', 2, 64), Category('whiten', (True, False)),
        Branch('metric', {'minkowski': [Real('p', 1, 6)], 'cosine': [], 'chebyshev': [], 'canberra': []}),
    ],
    best=0.06,
    into=MODELS,
)  # fmt: skip
def neighbours_digits(params: Params) -> float:
    """Share of wrong classes of nearest neighbours among principal components."""
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    own = {name: params[name] for name in ('n_neighbors', 'weights', 'metric', 'p') if name in params}
    reduced = PCA(params['components'], whiten=params['whiten'], random_state=0)
    return cross_validated(make_pipeline(reduced, KNeighborsClassifier(algorithm='brute', **own)), 'digits', 250)


@problem(
    'SGD diabetes', 'models',
    [
        Category('loss', ('squared_error', 'huber', 'epsilon_insensitive')), Real('epsilon', 1e-2, 1e2, log=True),
        Real('alpha', 1e-6, 1e1, log=True), Real('l1_ratio', 0, 1), Category('average', (True, False)),
        Whole('max_iter', 1, 30),
        Branch('learning_rate', {
            'optimal': [],
            'constant': [Real('eta0', 1e-6, 1e1, log=True)],
            'invscaling': [Real('eta0', 1e-6, 1e1, log=True), Real('power_t', 0, 1)],
            'adaptive': [Real('eta0', 1e-6, 1e1, log=True)],
        }),
    ],
    best=0.4598,
    into=MODELS,
)  # fmt: skip
def sgd_diabetes(params: Params) -> float:
    """Squares of a linear model that is trained by steps: with large ones its losses are of any size, or it fails."""
    from sklearn.linear_model import SGDRegressor

    model = SGDRegressor(penalty='elasticnet', tol=None, random_state=0, **params)
    return cross_validated(model, 'diabetes', 300, squared=True)


@problem(
    'Boosting diabetes', 'models',
    [
        Whole('n_estimators', 2, 40), Real('learning_rate', 1e-3, 1, log=True), Whole('max_depth', 1, 8),
        Real('subsample', 0.2, 1), Real('max_features', 0.1, 1), Whole('min_samples_leaf', 1, 40),
        Category('loss', ('squared_error', 'absolute_error', 'huber')),
    ],
    best=0.5626,
    into=MODELS,
)  # fmt: skip
def boosting_diabetes(params: Params) -> float:
    """Squares of boosted trees, of which each sees some rows and columns by chance."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(random_state=0, **params)
    return cross_validated(model, 'diabetes', 250, squared=True)
