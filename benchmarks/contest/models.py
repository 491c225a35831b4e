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
