"""Pictures of a search, and its page; libraries are imported when one is drawn (the extra ``report``)."""

from __future__ import annotations

from shadho.report.curves import plot_curves
from shadho.report.document import to_html
from shadho.report.history import plot_history
from shadho.report.importance import Importance, parameter_importance
from shadho.report.pictures import (
    plot_contour,
    plot_importance,
    plot_parallel_coordinates,
    plot_slice,
    plot_timeline,
    plot_trees,
)

__all__ = [
    'Importance',
    'parameter_importance',
    'plot_contour',
    'plot_curves',
    'plot_history',
    'plot_importance',
    'plot_parallel_coordinates',
    'plot_slice',
    'plot_timeline',
    'plot_trees',
    'to_html',
]
