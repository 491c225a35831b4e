"""Which parameters to draw when nobody says which: those that matter most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shadho.errors import ConfigurationError
from shadho.report.course import Course
from shadho.report.importance import Importance, parameter_importance
from shadho.report.parameters import Parameter, find_parameter, pairs, vary_together

__all__ = ['by_importance', 'choose_pair', 'choose_parameter', 'ordered_pairs']


def by_importance(course: Course, known: Importance | None = None) -> list[Parameter]:
    """Return the parameters that vary, the most important first; in the order of the space, where that is not known."""
    varied = [own for own in course.parameters if own.varies]
    try:
        found = known or parameter_importance(course)
    except ConfigurationError:
        return varied
    rank = {name: place for place, name in enumerate(found.names)}
    return sorted(varied, key=lambda own: rank.get(own.name, len(rank)))


def choose_parameter(course: Course, name: str | None) -> Parameter:
    """Return the parameter of a name, or the most important one.

    Raises
    ------
    ConfigurationError
        When there is none.
    """
    if name is not None:
        return find_parameter(course.parameters, name)
    found = by_importance(course) or course.parameters
    if not found:
        raise ConfigurationError(f'no trial of {course.result.exp_key!r} has a parameter')
    return found[0]


def ordered_pairs(course: Course, known: Importance | None = None) -> Iterator[tuple[Parameter, Parameter]]:
    """Yield the pairs of numbers that vary together, the most important first."""
    return pairs(by_importance(course, known), course.is_finite)


def choose_pair(course: Course, x: str | None, y: str | None) -> tuple[Parameter, Parameter]:
    """Return two parameters by name; what is not named is the most important that goes with the other.

    Raises
    ------
    ConfigurationError
        When no such two vary together.
    """
    named = [find_parameter(course.parameters, name) for name in (x, y) if name is not None]
    found = _fitting(course, named)
    if found is None or (len(named) == 2 and x == y):
        raise ConfigurationError(
            f'two numeric parameters that vary together in at least five trials with a finite {course.result.loss_name} are needed; '
            + (f'{" and ".join(own.name for own in named)} are not such' if named else 'the search has none')
        )
    one, other = found
    return (other, one) if x == other.name or y == one.name else (one, other)


def _fitting(course: Course, named: Sequence[Parameter]) -> tuple[Parameter, Parameter] | None:
    """Return the most important pair that varies together and holds the parameters that are named."""
    rows = course.is_finite
    if not named:
        return next(ordered_pairs(course), None)
    others = named[1:] or [own for own in by_importance(course) if own is not named[0]]
    return next(((named[0], own) for own in others if vary_together(named[0], own, rows)), None)
