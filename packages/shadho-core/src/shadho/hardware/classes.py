"""Compute classes: grouping workers by hardware, and counting their slots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shadho.checks import as_integer, as_list, check_resource
from shadho.errors import ConfigurationError
from shadho.records import ComputeClass, Hardware

__all__ = ['DeclaredClass', 'check_classes', 'check_resources', 'class_name', 'form_classes', 'slots']


@attrs.frozen
class DeclaredClass:
    """A class that the user asked for: workers with at least so much of one resource.

    Attributes
    ----------
    name : str
    resource : str
        'cores', 'memory', 'gpus', 'gpu_model' or any feature of the workers.
    value : number or str
        A number is a lower bound; a name must be equal.
    max_tasks : int or None
        The most trials that are handed out at once.
    """

    name: str
    resource: str
    value: Any
    max_tasks: int | None = None

    def __attrs_post_init__(self) -> None:
        for argument in ('name', 'resource'):
            if not isinstance(getattr(self, argument), str) or not getattr(self, argument):
                raise ConfigurationError(
                    f'add_compute_class(): {argument} must be a name; got {getattr(self, argument)!r}'
                )
        check_resource(f'add_compute_class({self.name!r})', self.resource, ('cores', 'memory', 'gpus', 'gpu_model'))
        number = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        if self.resource in ('cores', 'memory', 'gpus') and not (number and self.value > 0):
            raise ConfigurationError(
                f'add_compute_class({self.name!r}): {self.resource} must be a number above 0; got {self.value!r}'
            )
        if self.max_tasks is not None and (as_integer(self.max_tasks) or 0) < 1:
            raise ConfigurationError(
                f'add_compute_class({self.name!r}): max_tasks must be an integer of 1 or more; got {self.max_tasks!r}'
            )

    def admits(self, hardware: Hardware) -> bool:
        """Whether a worker with this hardware can serve the class."""
        amount = hardware.amount(self.resource)
        if amount is None:
            return False
        if isinstance(self.value, (int, float)) and isinstance(amount, (int, float)):
            return amount >= self.value
        return bool(amount == self.value)

    def requests(self) -> dict[str, Any]:
        """Return what a trial of the class asks for, beyond what the user says of all trials."""
        if self.resource == 'gpu_model':
            return {'gpus': 1}
        return {self.resource: self.value} if self.resource in ('cores', 'memory', 'gpus') else {}

    def __str__(self) -> str:
        relation = '>=' if isinstance(self.value, (int, float)) else '='
        return f'{self.name!r} ({self.resource} {relation} {self.value})'


def check_classes(backend: str, classes: Any) -> list[ComputeClass]:
    """Return classes that a backend was given, refusing what is none or cannot be told apart."""
    own = as_list(classes)
    if own is None:
        raise ConfigurationError(
            f'{backend}(): classes must be a list of ComputeClass; got {classes!r} ({type(classes).__name__}). A single '
            'one needs brackets too'
        )
    for item in own:
        if not isinstance(item, ComputeClass):
            raise ConfigurationError(
                f"{backend}(): each of classes must be a ComputeClass, such as ComputeClass('big', slots=2, "
                f"hardware={{'cores': 16}}, resources={{'cores': 4}}); got {item!r} ({type(item).__name__})"
            )
    if len({item.name for item in own}) < max(len(own), 1):
        raise ConfigurationError(f'{backend}(): classes must be a list of at least one class, with different names')
    return own


def check_resources(resources: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what each trial asks for, refusing what no slot can be divided by."""
    if resources is None:
        return {}
    if not isinstance(resources, Mapping):
        raise ConfigurationError(
            f"resources must be a dict of what each trial asks for, such as {{'cores': 2}}; got {resources!r} "
            f'({type(resources).__name__})'
        )
    asked = {}
    for name, amount in resources.items():
        if name not in ('cores', 'memory', 'gpus'):
            raise ConfigurationError(f'resources: unknown resource {name!r}; known: cores, gpus, memory')
        whole = as_integer(amount)
        if whole is None or whole < (1 if name == 'cores' else 0):
            raise ConfigurationError(
                f'resources: {name} must be an integer of {int(name == "cores")} or more; got {amount!r}'
            )
        asked[name] = whole
    return asked


def slots(hardware: Hardware, resources: Mapping[str, Any]) -> int:
    """Return how many trials that ask for `resources` fit on a worker at once."""
    fits = [
        math.floor((hardware.amount(name) or 0) / amount)
        for name, amount in resources.items()
        if amount and not (name == 'memory' and not hardware.memory)
    ]
    return min(fits, default=1)


def class_name(hardware: Hardware) -> str:
    """Name a discovered class after its hardware, as in ``16-core``, ``16-core 64GiB`` or ``8-core 2xV100``.

    Memory is rounded, as machines that are alike report slightly different amounts.
    """
    models = sorted(set(hardware.gpus))
    gpus = ''.join(f' {hardware.gpus.count(model)}x{model}' for model in models)
    features = ''.join(f' {key}={value}' for key, value in sorted(hardware.features.items()))
    memory = f' {_rounded(hardware.memory / 1024):g}GiB' if hardware.memory else ''
    return f'{hardware.cores}-core{memory}{gpus}{features}'


def _rounded(amount: float) -> float:
    """Return the nearest of ..., 1, 1.5, 2, 3, 4, 6, 8, ... by ratio."""
    power: float = 2.0 ** math.floor(math.log2(amount))
    return min((power, 1.5 * power, 2 * power), key=lambda near: abs(math.log(amount / near)))


def form_classes(
    workers: Sequence[Hardware], declared: Sequence[DeclaredClass], resources: Mapping[str, Any]
) -> list[ComputeClass]:
    """Group workers into compute classes.

    A worker belongs to the declared class with the highest value that it satisfies; a trial there
    asks for the class's amount, unless `resources` names that resource. The other workers are
    grouped by equal hardware, and a trial there asks for `resources` (one core by default).

    Parameters
    ----------
    workers : sequence of Hardware
        One for each connected worker.
    declared : sequence of DeclaredClass
    resources : mapping
        What the user said that each trial asks for.

    Returns
    -------
    list of ComputeClass
        Those that have workers; a discovered one that would have the name of a declared one is called
        ``<name> (undeclared)``. Their hardware is the first worker's.
    """
    ranked = sorted(
        declared, key=lambda own: own.value if isinstance(own.value, (int, float)) else math.inf, reverse=True
    )
    groups: dict[str, tuple[DeclaredClass | None, list[Hardware]]] = {}
    for hardware in workers:
        owner = next((own for own in ranked if own.admits(hardware)), None)
        name = owner.name if owner is not None else class_name(hardware)
        if owner is None and any(own.name == name for own in declared):
            name += ' (undeclared)'
        groups.setdefault(name, (owner, []))[1].append(hardware)
    classes = []
    for name, (owner, members) in groups.items():
        asked = {'cores': 1, **(owner.requests() if owner is not None else {}), **resources}
        count = sum(slots(hardware, asked) for hardware in members)
        if owner is not None and owner.max_tasks is not None:
            count = min(count, owner.max_tasks)
        classes.append(ComputeClass(name, count, members[0], asked))
    return classes
