"""Search spaces that belong to no library: written down once, and built for each of them.

A space is a list of parameters and branches. A branch is a category whose value says which further
parameters there are; what its options share stands beside it, not in it. The same name is the same
parameter wherever it stands. Values are told as one flat dict by name, of the active ones only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import attrs
import numpy as np


@attrs.frozen
class Real:
    """A real number, evenly or evenly on a logarithmic scale."""

    name: str
    low: float
    high: float
    log: bool = False


@attrs.frozen
class Whole:
    """A whole number from `low` to `high`, both among them."""

    name: str
    low: int
    high: int


@attrs.frozen
class Category:
    """One of several words, or of several numbers."""

    name: str
    values: tuple[str | int | float, ...]


@attrs.frozen
class Branch:
    """One of several words, each with parameters of its own."""

    name: str
    options: Mapping[str, Sequence[Item]]


Item: TypeAlias = Real | Whole | Category | Branch
Space: TypeAlias = Sequence[Item]
Params: TypeAlias = dict[str, Any]


def drawn(space: Space, rng: np.random.Generator) -> Params:
    """Draw every parameter independently: random search, with nothing learned and no policy."""
    params: Params = {}
    for item in space:
        if isinstance(item, Branch):
            params[item.name] = chosen = list(item.options)[rng.integers(len(item.options))]
            params |= drawn(item.options[chosen], rng)
        elif isinstance(item, Category):
            params[item.name] = item.values[rng.integers(len(item.values))]
        elif isinstance(item, Whole):
            params[item.name] = int(rng.integers(item.low, item.high, endpoint=True))
        else:
            low, high = (math.log(item.low), math.log(item.high)) if item.log else (item.low, item.high)
            number = rng.uniform(low, high)
            params[item.name] = math.exp(number) if item.log else number
    return params


def for_shadho(space: Space) -> dict[str, Any]:
    """Build a space of ours: a branch is an exclusive scope beside what its options share."""
    from shadho import spaces

    def built(item: Item) -> Any:
        if isinstance(item, Branch):
            return spaces.scope(exclusive=True, **{key: for_shadho(own) for key, own in item.options.items()})
        if isinstance(item, Category):
            return spaces.choice(item.values)
        if isinstance(item, Whole):
            return spaces.randint(item.low, item.high + 1)
        return (spaces.loguniform if item.log else spaces.uniform)(item.low, item.high)

    return {item.name: built(item) for item in space}


def from_shadho(space: Space, nested: Mapping[str, Any]) -> Params:
    """Return our nested parameters as a flat dict."""
    params: Params = {}
    for item in space:
        if isinstance(item, Branch):
            ((chosen, inner),) = nested[item.name].items()
            params[item.name] = chosen
            params |= from_shadho(item.options[chosen], inner)
        else:
            params[item.name] = nested[item.name]
    return params


def to_shadho(space: Space, params: Params) -> dict[str, Any]:
    """Return a flat dict as our nested parameters."""
    return {
        item.name: {params[item.name]: to_shadho(item.options[params[item.name]], params)}
        if isinstance(item, Branch)
        else params[item.name]
        for item in space
    }


def distributions(space: Space) -> dict[str, Any]:
    """Return what Optuna calls the distributions of all parameters."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def of(item: Item) -> Any:
        if isinstance(item, Branch):
            return CategoricalDistribution(list(item.options))
        if isinstance(item, Category):
            return CategoricalDistribution(item.values)
        if isinstance(item, Whole):
            return IntDistribution(item.low, item.high)
        return FloatDistribution(item.low, item.high, log=item.log)

    return {item.name: of(item) for item, _, _ in _places(space)}


def from_optuna(space: Space, trial: Any) -> Params:
    """Let a trial of Optuna suggest all, as it is defined by running."""
    params: Params = {}
    for item in space:
        if isinstance(item, Branch):
            params[item.name] = chosen = trial.suggest_categorical(item.name, list(item.options))
            params |= from_optuna(item.options[chosen], trial)
        elif isinstance(item, Category):
            params[item.name] = trial.suggest_categorical(item.name, item.values)
        elif isinstance(item, Whole):
            params[item.name] = trial.suggest_int(item.name, item.low, item.high)
        else:
            params[item.name] = trial.suggest_float(item.name, item.low, item.high, log=item.log)
    return params


def for_hyperopt(space: Space) -> Any:
    """Build a space of hyperopt: a parameter is one node, also where several options have it."""
    from hyperopt import hp

    @cache
    def leaf(item: Item) -> Any:
        if isinstance(item, Category):
            return hp.choice(item.name, item.values)
        if isinstance(item, Whole):
            return hp.uniformint(item.name, item.low, item.high)
        assert isinstance(item, Real)
        if item.log:
            return hp.loguniform(item.name, math.log(item.low), math.log(item.high))
        return hp.uniform(item.name, item.low, item.high)

    def built(part: Space) -> dict[str, Any]:
        return {item.name: branch(item) if isinstance(item, Branch) else leaf(item) for item in part}

    def branch(item: Branch) -> Any:
        return hp.choice(item.name, [(key, built(own)) for key, own in item.options.items()])

    return built(space)


def from_hyperopt(space: Space, nested: Mapping[str, Any]) -> Params:
    """Return hyperopt's nested parameters as a flat dict."""
    params: Params = {}
    for item in space:
        if isinstance(item, Branch):
            params[item.name], inner = nested[item.name]
            params |= from_hyperopt(item.options[params[item.name]], inner)
        else:
            params[item.name] = nested[item.name]
    return params


def to_hyperopt(space: Space, params: Params) -> dict[str, Any]:
    """Return a flat dict as hyperopt keeps it: of what is chosen the number."""
    words = {item.name: list(item.options) if isinstance(item, Branch) else item.values
             for item, _, _ in _places(space) if isinstance(item, (Branch, Category))}  # fmt: skip
    return {name: words[name].index(value) if name in words else value for name, value in params.items()}


def for_smac(space: Space, seed: int) -> Any:
    """Build a ConfigSpace: a parameter is active when an option is chosen that has it."""
    import ConfigSpace as cs  # noqa: N813  # the name in its documentation

    made: dict[str, Any] = {}
    conditions: dict[str, list[Any]] = {}
    for item, parent, option in _places(space):
        if item.name not in made:
            made[item.name] = _smac_parameter(item)
        if parent is not None:
            own = conditions.setdefault(item.name, [])
            own.append(cs.EqualsCondition(made[item.name], made[parent.name], option))
    built = cs.ConfigurationSpace(seed=seed)
    built.add(*made.values())
    built.add(*(own[0] if len(own) == 1 else cs.OrConjunction(*own) for own in conditions.values()))
    return built


def _smac_parameter(item: Item) -> Any:
    import ConfigSpace as cs  # noqa: N813

    if isinstance(item, Branch):
        return cs.CategoricalHyperparameter(item.name, list(item.options))
    if isinstance(item, Category):
        return cs.CategoricalHyperparameter(item.name, item.values)
    if isinstance(item, Whole):
        return cs.UniformIntegerHyperparameter(item.name, item.low, item.high)
    return cs.UniformFloatHyperparameter(item.name, item.low, item.high, log=item.log)


def _places(space: Space, parent: Branch | None = None, option: str = '') -> Iterator[tuple[Item, Branch | None, str]]:
    """Yield all items, each with the branch and the option that it stands in."""
    for item in space:
        yield item, parent, option
        if isinstance(item, Branch):
            for key, own in item.options.items():
                yield from _places(own, item, key)
