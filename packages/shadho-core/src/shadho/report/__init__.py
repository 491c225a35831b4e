"""Pictures of a search; matplotlib is imported when one is drawn (``pip install shadho-core[report]``)."""

from __future__ import annotations

from shadho.report.history import plot_history

__all__ = ['plot_history']
