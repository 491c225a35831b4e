"""From a setting of a search space to an estimator with these parameters.

Parameters have scikit-learn's names: in ``{'svc': {'C': ...}}`` and in ``{'svc__C': ...}`` that is
``svc__C``. The options of an exclusive scope stand where the scope does, and their names are labels.
A tuple of an estimator and a dict is that estimator with these parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from sklearn.base import clone

from shadho.errors import ConfigurationError, SpaceError, nearest
from shadho.forest import Forest
from shadho.jsontags import survives_json
from shadho.spaces.domains import Choice
from shadho.spaces.structure import Constant, Dependent, Repeat, Scope, Sequence, as_node

__all__ = ['CHOSEN', 'Settings', 'first_of']

CHOSEN = 'estimator'
"""The parameter that says which one of several estimators was chosen."""

_MOST_CHECKED = 100
"""Trees of which one setting is tried before the search; more would delay it."""


@attrs.frozen
class Settings:
    """What the settings of a space mean for an estimator.

    Attributes
    ----------
    estimator : estimator or mapping of str to estimator
    space : Scope
    """

    estimator: Any
    space: Scope

    @classmethod
    def of(cls, estimator: Any, space: Any) -> Settings:
        """Read what a user gave.

        Parameters
        ----------
        estimator : estimator or mapping of str to estimator
        space : dict, Scope or list of dict
            For several estimators a dict of their names to the space of each.

        Raises
        ------
        SpaceError
            When parts of the space name no parameters.
        """
        if isinstance(estimator, Mapping):
            scope = _one_for_each(estimator, space)
            parts = [scope[name] for name in scope]
        else:
            scope = _as_scope(space)
            parts = [scope]
        for part in parts:
            _check(part, '')
        return cls(estimator, scope)

    @property
    def estimators(self) -> list[Any]:
        """The estimator, or those to choose from."""
        return list(self.estimator.values()) if isinstance(self.estimator, Mapping) else [self.estimator]

    @property
    def objects(self) -> list[Any]:
        """Estimators, functions and other values that the text of the space shows by their reprs only."""
        return [value for value in _values(self.space) if not survives_json(value)]

    def named(self, params: Any) -> dict[str, Any]:
        """Return a trial's parameters under the names that scikit-learn gives them.

        Of several estimators, the chosen one is told under `CHOSEN`, and its name stands before
        those of its parameters.
        """
        if not isinstance(self.estimator, Mapping):
            return _unique(_named(self.space, params, ''))
        ((name, own),) = params.items()
        return {CHOSEN: name, **_unique(_named(self.space[name], own, name))}

    def apply(self, named: Mapping[str, Any]) -> Any:
        """Return a new estimator with these parameters, as `named` returns them."""
        estimator, own = self.chosen(named)
        # Parameters may be estimators themselves, which must not be fitted for one trial after another.
        return clone(estimator).set_params(**clone(own, safe=False))

    def chosen(self, named: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the estimator that is meant, and its parameters by its own names."""
        if not isinstance(self.estimator, Mapping):
            return self.estimator, dict(named)
        name = named[CHOSEN]
        return self.estimator[name], {key.removeprefix(f'{name}__'): named[key] for key in named if key != CHOSEN}

    def name(self, named: Mapping[str, Any], parameter: str) -> str:
        """Return the name, in a setting, of a parameter of the estimator that it chooses."""
        return f'{named[CHOSEN]}__{parameter}' if isinstance(self.estimator, Mapping) else parameter

    def check(self) -> None:
        """Let the estimator refuse parameters that it does not have, before anything is fitted.

        Raises
        ------
        ValueError
            From scikit-learn, naming the parameter and those that there are.
        """
        for named in self.examples():
            self.apply(named)

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield one setting of each tree, of a hundred trees at most."""
        forest = Forest(self.space)
        for tree in map(forest.tree, range(min(forest.count, _MOST_CHECKED))):
            yield self.named(tree.decode([0.5] * len(tree)))


def first_of(estimator: Any) -> Any:
    """Return an estimator, or the first of several.

    Raises
    ------
    ConfigurationError
        When there is none.
    """
    if not isinstance(estimator, Mapping):
        return estimator
    if not estimator:
        raise ConfigurationError("estimator is an empty dict; give estimators by name, such as {'svm': SVC()}")
    return next(iter(estimator.values()))


def _values(part: Any) -> Iterator[Any]:
    """Yield the values that a part of a space can take as they are, and the functions that compute others."""
    if isinstance(part, Choice):
        yield from part.values
    elif isinstance(part, Constant):
        yield part.value
    elif isinstance(part, Dependent):
        yield part.callback
    elif isinstance(part, Repeat):
        yield from _values(part.part)
    elif isinstance(part, (Scope, Sequence)):
        for inner in part.parts if isinstance(part, Sequence) else [part[key] for key in part]:
            yield from _values(inner)


def _one_for_each(estimators: Mapping[str, Any], space: Any) -> Scope:
    """Return the exclusive scope of several estimators' spaces."""
    given = _as_scope(space)
    for name in given:
        if name not in estimators:
            raise SpaceError(
                f'the space has a part {name!r}, but there is no such estimator; {nearest(name, estimators)}. With a dict of '
                "estimators the space is a dict of the same names, such as {'svm': {'C': ...}, 'forest': {}}"
            )
    parts = {name: given[name] for name in given}
    return Scope({name: parts.get(name, {}) for name in estimators}, exclusive=True)


def _as_scope(space: Any) -> Scope:
    node = _as_node(space)
    if isinstance(node, Scope):
        return node
    raise SpaceError(
        f'the space of an estimator must be a dict of its parameters, such as {{"C": spaces.log10_uniform(-3, 3)}}, or a '
        f'list of such dicts; got {space!r} ({type(space).__name__})'
    )


def _as_node(space: Any) -> Any:
    """Read a list of dicts as RandomizedSearchCV does: one of them at a time."""
    if isinstance(space, list) and space and all(isinstance(part, Mapping) for part in space):
        return Scope({str(place): _as_node(part) for place, part in enumerate(space)}, exclusive=True)
    return as_node(space)


def _named(part: Any, value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each parameter that a part of the space sets."""
    if isinstance(part, Scope):
        for key, inner in (value or {}).items():  # an optional scope may be absent
            yield from _named(part[key], inner, place if part._exclusive else _joined(place, key))
    elif _is_estimator_with_parameters(part):
        yield place, value[0]
        yield from _named(part[1], value[1], place)
    else:
        yield place, value


def _joined(place: str, key: str) -> str:
    return f'{place}__{key}' if place else key


def _unique(named: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named:
        if name in found:
            raise SpaceError(f'the space sets the parameter {name!r} twice; leave one of the two out')
        found[name] = value
    return found


def _is_estimator_with_parameters(part: Any) -> bool:
    if not (isinstance(part, Sequence) and len(part) == 2 and isinstance(part[1], Scope)):
        return False
    return isinstance(part[0], Constant) and hasattr(part[0].value, 'get_params')


def _check(part: Any, place: str) -> None:
    """Refuse parts that stand nowhere, and distributions that have no quantiles."""
    if isinstance(part, Scope):
        for key in part:
            _check(part[key], place if part._exclusive else _joined(place, key))
        return
    if not place:
        raise SpaceError(
            f'an option of the exclusive space is {part!r}, which is no dict of parameters: names of options are labels. '
            "Write {'exclusive': True, 'small': {'C': ...}, 'large': {'C': ...}}"
        )
    if _is_estimator_with_parameters(part):
        _check(part[1], place)
    elif isinstance(part, Constant) and hasattr(part.value, 'rvs'):
        raise SpaceError(
            f'{place}: {part!r} has rvs but no ppf and cdf, so it can be drawn from but not searched. Use a frozen '
            'distribution of scipy.stats, or a domain such as spaces.uniform(0, 1)'
        )
