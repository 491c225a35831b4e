"""What a search is made of: samplers, policies and fidelities, by name or by class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from shadho.checks import check_options
from shadho.errors import ConfigurationError
from shadho.fidelity import Fidelity, FidelityContext
from shadho.fidelity.full import Full
from shadho.plugins.registry import Registry
from shadho.samplers import Sampler, SamplerContext
from shadho.scheduling import Policy, PolicyContext

__all__ = ['new_fidelity', 'new_policy', 'new_sampler']

Options = Mapping[str, Any]


def new_sampler(method: str | type[Sampler], context: SamplerContext, options: Options, registry: Registry) -> Sampler:
    """Make a sampler."""
    cls = registry.get('sampler', method, 'method') if isinstance(method, str) else method
    made: Sampler = _make('method', Sampler, cls, context, options)
    return made


def new_policy(
    policy: str | type[Policy], context: PolicyContext, options: Options | None, registry: Registry
) -> Policy:
    """Make a policy; names of heuristics among its options become heuristics."""
    cls = registry.get('policy', policy) if isinstance(policy, str) else policy
    chosen = _with_heuristics(check_options('policy_options', options), registry)
    made: Policy = _make('policy', Policy, cls, context, chosen)
    return made


def new_fidelity(
    fidelity: str | type[Fidelity], context: FidelityContext, options: Options | None, registry: Registry
) -> Fidelity:
    """Make a fidelity; ConfigurationError if it requires steps and there are none."""
    cls: Any = Full if fidelity == Full.name else fidelity  # every registry has the default
    if isinstance(cls, str):
        cls = registry.get('fidelity', cls)
    if context.max_steps is None and getattr(cls, 'needs_steps', False):
        raise ConfigurationError(
            f'fidelity={cls.name!r} ends trials on the way, so it needs max_steps: the steps of a trial that runs to its '
            'end, such as max_steps=81 for 81 epochs'
        )
    made: Fidelity = _make('fidelity', Fidelity, cls, context, check_options('fidelity_options', options))
    return made


def _with_heuristics(options: Options, registry: Registry) -> Options:
    """Replace names of heuristics by instances."""
    heuristics = options.get('heuristics')
    if heuristics is None:
        return options
    if not isinstance(heuristics, Mapping):
        raise ConfigurationError(
            "policy_options: heuristics must be a dict of names and powers, such as {'promise': 2.0}; "
            f'got {heuristics!r} ({type(heuristics).__name__})'
        )
    found = {
        registry.get('heuristic', given)() if isinstance(given, str) else given: power
        for given, power in heuristics.items()
    }
    return {**options, 'heuristics': found}


def _make(argument: str, base: type[Any], cls: Any, context: Any, options: Mapping[str, Any]) -> Any:
    """Make an instance of `base` from its context and the user's options."""
    if not _can_make(cls, base):
        raise _makes_none(argument, cls, base)
    known = inspect.signature(cls).parameters
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    names = list(known)[1:]
    unused = [] if any_name else [name for name in options if name not in names]
    if unused:
        raise ConfigurationError(
            f'{argument}={getattr(cls, "name", cls)!r} has no option {unused[0]!r}; its options: {", ".join(names) or "none"}'
        )
    try:
        made = cls(context, **options)
    except TypeError as error:
        if isinstance(cls, type):
            raise
        raise _makes_none(argument, cls, base) from error
    if not isinstance(made, base):
        raise _makes_none(argument, cls, base)
    return made


def _can_make(given: Any, base: type[Any]) -> bool:
    """Whether a class or function can make an instance of `base` from a context."""
    if isinstance(given, type):
        return issubclass(given, base) and not inspect.isabstract(given) and hasattr(given, 'name')
    try:
        inspect.signature(given).bind_partial(None)
    except (TypeError, ValueError):
        return False
    return True


def _makes_none(argument: str, given: Any, base: type[Any]) -> ConfigurationError:
    """Return the error for an argument that makes no instance of `base`."""
    kind = base.__name__
    if isinstance(given, base):
        cause = 'an instance, but each search creates a new one; pass the class, without parentheses'
    elif isinstance(given, type):
        cause = f'a class that is not a {kind}, or lacks one of its methods; derive it from {kind}, and give it a name'
    else:
        cause = f'{type(given).__name__}; leave {argument} out for the default'
    return ConfigurationError(f'{argument} must be a name or a {kind} class; got {given!r} ({cause})')
