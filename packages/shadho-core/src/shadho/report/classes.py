"""The compute classes of a search: how large they are, and what ran there."""

from __future__ import annotations

import attrs
import numpy as np

from shadho.records import ComputeClass, TrialState
from shadho.report.course import Course
from shadho.report.forecasts import Forecasts
from shadho.report.timeline import lay_out
from shadho.result import format_request, is_driver_bound

__all__ = ['ClassResult', 'sum_up_classes']


@attrs.frozen
class ClassResult:
    """The trials of one compute class.

    Attributes
    ----------
    name : str
    slots : int
        As they were last; trials that ran at once at most, when that is not known.
    request : str
        What a trial asks of a slot; empty when that is not known.
    trials, done, failed : int
        Finished trials, and what became of them.
    lost : int
        Attempts whose worker vanished.
    seconds : float
        Of an attempt on average; nan without any.
    utilisation : float
        Share of the slots' time in which trials ran, from 0 to 1.
    price : float
        By which share one more slot speeds the search up, by all that is known now; nan when that cannot be said, or slots
        waited for the search.
    is_bottleneck : bool
        Whether it is the class with the highest price, of several.
    """

    name: str
    slots: int
    request: str
    trials: int
    done: int
    failed: int
    lost: int
    seconds: float
    utilisation: float
    price: float
    is_bottleneck: bool


def sum_up_classes(course: Course, known: Forecasts | None = None) -> list[ClassResult]:
    """Return what is known of each class, the largest first (see `Course.class_names`).

    Parameters
    ----------
    course : Course
    known : Forecasts, optional
        What the market's prices are taken from.
    """
    has_prices = known is not None and len(known.prices) and not is_driver_bound(course.result.classes)
    prices = dict(zip(known.classes, known.prices[-1])) if known is not None and has_prices else {}
    highest = max(prices.values(), default=0.0)
    rows = {own.name: own for own in lay_out(course).classes}
    found = []
    for name in course.class_names:
        own = course.classes == name
        place, compute_class = rows.get(name), course.compute_classes.get(name)
        price = float(prices.get(name, np.nan))
        seconds = course.seconds_in(name)
        failed = int((own & course.failed).sum())
        found.append(
            ClassResult(
                name,
                _slots(compute_class) if place is None else place.slots,
                '' if compute_class is None else format_request(compute_class),
                int(own.sum()),
                int(own.sum()) - failed,
                failed,
                sum(one.compute_class == name and one.state is TrialState.LOST for one in course.attempts),
                float(np.mean(seconds)) if seconds else np.nan,
                0.0 if place is None else place.utilisation,
                price,
                len(prices) > 1 and price == float(highest) > 0,
            )
        )
    return found


def _slots(compute_class: ComputeClass | None) -> int:
    return 0 if compute_class is None else compute_class.slots
