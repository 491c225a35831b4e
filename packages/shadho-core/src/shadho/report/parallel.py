"""The axes of parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from shadho.report.course import OTHER, Course, Floats, Mask
from shadho.report.parameters import Parameter, find_parameter
from shadho.report.selection import by_importance
from shadho.report.ticks import round_ticks

__all__ = ['MOST_AXES', 'Axis', 'lay_axes']

MOST_AXES = 12
_FOOT = -0.12
"""Where inactive parameters stand, below the unit interval."""


@attrs.frozen(eq=False)
class Axis:
    """One axis: where each trial with a finite loss crosses it.

    Attributes
    ----------
    name : str
    places : array, shape (trials with a finite loss,)
    range : tuple of float
    ticks : list of (float, str)
    """

    name: str
    places: Floats
    range: tuple[float, float]
    ticks: list[tuple[float, str]]

    def heights(self, places: Floats) -> Floats:
        """Return where places stand between the foot of the axis, 0, and its top, 1."""
        low, high = self.range
        return (places - low) / (high - low or 1.0)


def lay_axes(course: Course, names: Sequence[str] | None = None) -> list[Axis]:
    """Return the axes, the loss first, then the tree, where there are several; none without a finite loss.

    Parameters
    ----------
    course : Course
    names : sequence of str, optional
        Parameters; by default the dozen that matter most, in the order of the space.
    """
    rows = course.is_finite
    if not rows.any():
        return []
    if names is None:
        chosen = {own.name for own in by_importance(course)[:MOST_AXES]}
        own = [each for each in course.parameters if each.name in chosen]
    else:
        own = [find_parameter(course.parameters, name) for name in names]
    trees = [_tree_axis(course)] if len(course.best_of_trees()) > 1 else []
    return [_loss_axis(course), *trees, *(_axis(each, each.active[rows], each.places[rows]) for each in own)]


def _axis(own: Parameter, active: Mask, places: Floats) -> Axis:
    known = own.places[own.active]
    low, high = known.min(), known.max()
    width = (high - low) or 1.0
    ticks = [((place - low) / width, label) for place, label in own.ticks()]
    crossed = np.where(active, (places - low) / width, _FOOT)
    if active.all():
        return Axis(own.name, crossed, (0.0, 1.0), ticks)
    return Axis(own.name, crossed, (_FOOT, 1.0), [(_FOOT, '-'), *ticks])


def _tree_axis(course: Course) -> Axis:
    """Trees with a colour of their own in order, all others as one."""
    places = np.zeros(len(course))
    ticks = []
    for number, group in enumerate(reversed(list(course.groups()))):
        places[group.rows] = number
        ticks.append((float(number), 'others' if group.colour == OTHER else group.label[:18]))
    return Axis('tree', places[course.is_finite], (0.0, float(len(ticks) - 1)), ticks)


def _loss_axis(course: Course) -> Axis:
    places = course.places[course.is_finite]
    low, high = float(places.min()), float(places.max())
    return Axis(
        course.measured,
        places,
        (low, high if high > low else low + 1.0),
        round_ticks(low, high, course.is_log, unit=course.unit),
    )
