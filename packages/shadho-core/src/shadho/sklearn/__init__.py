"""A search as an estimator of scikit-learn, imported on its own (``pip install scikit-learn``)."""

from __future__ import annotations

from shadho.sklearn.search import ShadhoSearchCV

__all__ = ['ShadhoSearchCV']
