"""The trials of each tree, summed up."""

from __future__ import annotations

import attrs
import numpy as np

from shadho.report.course import OTHER, Course, Floats

__all__ = ['TreeResult', 'median_of', 'sum_up_trees']


@attrs.frozen(eq=False)
class TreeResult:
    """The trials of one tree.

    Attributes
    ----------
    number : int
        Of the tree in the forest.
    label : str
    colour : str
        As in all pictures of the search.
    trials, failed : int
        Those that failed are trials too.
    losses : array
        The finite ones.
    best, median : float
        Of the finite losses; nan without any.
    seconds : float
        Of a trial, on average.
    """

    number: int
    label: str
    colour: str
    trials: int
    failed: int
    losses: Floats
    best: float
    median: float
    seconds: float


def sum_up_trees(course: Course, limit: int | None = None) -> list[TreeResult]:
    """Return what is known of each tree, the best first; those without a finite loss come last.

    Parameters
    ----------
    course : Course
    limit : int, optional
        Trees at most.
    """
    best = course.best_of_trees()
    order = sorted(set(course.trees), key=lambda tree: (best.get(tree, np.inf), tree))[:limit]
    colours = {int(course.trees[group.rows][0]): group.colour for group in course.groups() if group.colour != OTHER}
    return [_sum_up(course, tree, colours.get(tree, OTHER)) for tree in order]


def median_of(course: Course, tree: int) -> float:
    """Return the median of the finite losses of a tree; nan without any."""
    losses = course.losses[(course.trees == tree) & course.is_finite]
    return float(np.median(losses)) if len(losses) else np.nan


def _sum_up(course: Course, tree: int, colour: str) -> TreeResult:
    rows = course.trees == tree
    losses = course.losses[rows & course.is_finite]
    return TreeResult(
        tree,
        course.label(tree, 60),
        colour,
        int(rows.sum()),
        int((rows & course.failed).sum()),
        losses,
        float(course.sign * (course.sign * losses).min()) if len(losses) else np.nan,
        median_of(course, tree),
        float(np.mean([trial.seconds or 0.0 for trial, own in zip(course.trials, rows) if own])),
    )
