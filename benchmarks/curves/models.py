"""The models whose learning curves are recorded, and their hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from contest.spaces import Category, Params, Real, Space

STEPS = 81
"""Steps of a fully trained model: epochs, or rounds of boosting."""

LEARNED, VALIDATED = 400, 1397
"""Digits to learn from, and digits that each model reads after each step; together all of scikit-learn's."""

MODELS: dict[str, Space] = {
    'linear': [
        Real('rate', 1e-5, 1, log=True), Real('alpha', 1e-6, 1, log=True),
        Category('loss', ('hinge', 'log_loss', 'modified_huber')),
        Category('schedule', ('constant', 'invscaling', 'optimal')),
    ],
    'perceptron': [
        Real('rate', 1e-4, 1, log=True), Real('momentum', 0, 1), Real('alpha', 1e-6, 10, log=True),
        Category('width', (8, 16, 32, 64, 128)),
    ],
    'deep_network': [
        Real('rate', 1e-5, 0.1, log=True), Real('alpha', 1e-6, 10, log=True), Category('layers', (2, 3, 4)),
        Category('width', (8, 16, 32, 64, 128)),
    ],
    'boosting': [
        Real('rate', 0.01, 1, log=True), Category('leaves', (3, 5, 9, 17, 31)), Category('least', (1, 3, 10, 30)),
        Real('features', 0.05, 1),
    ],
}  # fmt: skip
"""Hyperparameters of each tree."""

NETWORKS = {'perceptron': 'sgd', 'deep_network': 'adam'}
"""Solvers of the networks."""


def trained(tree: str, params: Params, images: Any, digits: Any) -> Iterator[Any]:
    """Yield a model after each of its first steps, as `scikit-learn` trains it; boosting is not yielded here."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    chance = np.random.RandomState(0)  # a number would shuffle each epoch alike
    if tree == 'linear':
        model = SGDClassifier(
            loss=params['loss'], learning_rate=params['schedule'], eta0=params['rate'], alpha=params['alpha'],
            random_state=chance,
        )  # fmt: skip
    else:
        model = MLPClassifier(
            [params['width']] * params.get('layers', 1), solver=NETWORKS[tree], learning_rate_init=params['rate'],
            momentum=params.get('momentum', 0.9), alpha=params['alpha'], batch_size=20, random_state=chance,
        )  # fmt: skip
    while True:
        model.partial_fit(images, digits, classes=np.arange(10))
        yield model


def boosted(params: Params, rounds: int, images: Any, digits: Any) -> Any:
    """Return a boosted model, whose steps can be looked at when it is fitted."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=params['rate'], max_leaf_nodes=params['leaves'], min_samples_leaf=params['least'],
        max_features=params['features'], max_iter=rounds, max_bins=32, early_stopping=False, random_state=0,
    ).fit(images, digits)  # fmt: skip
