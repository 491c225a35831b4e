"""What users write with scikit-learn, as type checkers see it: this file is checked, and run by no test."""

from __future__ import annotations

from typing import Any

from sklearn.svm import SVC
from typing_extensions import assert_type

from shadho import SearchResult, spaces
from shadho.sklearn import ShadhoSearchCV


def search(X: Any, y: Any) -> dict[str, Any]:
    cv = ShadhoSearchCV(
        SVC(), {'C': spaces.log10_uniform(-2, 3)}, n_trials=20, scoring=['accuracy', 'f1'], refit='f1', cv=5, random_state=0,
        storage='svm.db',
    )  # fmt: skip
    fitted = cv.fit(X, y, sample_weight=None)
    assert_type(fitted, ShadhoSearchCV)
    assert_type(fitted.result_, SearchResult)
    assert_type(fitted.best_score_, float)
    assert_type(fitted.best_index_, int)
    assert_type(fitted.cv_results_, dict[str, Any])
    fitted.predict(X)
    return fitted.best_params_


def choose(X: Any, y: Any) -> Any:
    estimators = {'small': SVC(C=1), 'large': SVC(C=100)}
    halving = {'resource': 'n_samples', 'factor': 4}
    return (
        ShadhoSearchCV(estimators, {}, timeout=60, n_trials=None, n_jobs=-1, refit=lambda results: 0, halving=halving)
        .fit(X, y)
        .best_estimator_
    )
