"""The hooks that a plugin may implement.

A plugin is a module named by an entry point of the group ``shadho``, whose functions are marked
with `hookimpl`; an object or module can also be given as ``Shadho(..., plugins=[...])``. Registering hooks return lists of
classes. Observing hooks get frozen records; what they raise is logged, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from shadho.backends.base import Backend
    from shadho.fidelity.base import Fidelity
    from shadho.records import ComputeClass, Report, Result, Trial
    from shadho.samplers.base import Sampler
    from shadho.scheduling.policy import ClassPlan, Heuristic, Policy
    from shadho.storage.base import Storage

__all__ = ['hookimpl', 'hookspec']

hookspec = pluggy.HookspecMarker('shadho')
hookimpl = pluggy.HookimplMarker('shadho')


@hookspec
def shadho_register_backends() -> list[type[Backend]]:  # type: ignore[empty-body]
    """Return classes of backends."""


@hookspec
def shadho_register_samplers() -> list[type[Sampler]]:  # type: ignore[empty-body]
    """Return classes of samplers."""


@hookspec
def shadho_register_policies() -> list[type[Policy]]:  # type: ignore[empty-body]
    """Return classes of scheduling policies."""


@hookspec
def shadho_register_heuristics() -> list[type[Heuristic]]:  # type: ignore[empty-body]
    """Return classes of heuristics, which score trees."""


@hookspec
def shadho_register_fidelities() -> list[type[Fidelity]]:  # type: ignore[empty-body]
    """Return classes of fidelities, which decide how far each trial is run."""


@hookspec
def shadho_register_storages() -> list[type[Storage]]:  # type: ignore[empty-body]
    """Return classes of storages."""


@hookspec
def shadho_register_commands(cli: click.Group) -> None:
    """Add commands to the command line ``shadho``.

    A backend whose trials run on other machines adds one to each of two groups, by the backend's
    name: ``cli.commands['worker'].add_command(...)`` serves trials on a machine (``shadho worker
    NAME``), ``cli.commands['install'].add_command(...)`` finds or installs what that needs (``shadho
    install NAME``).
    """


@hookspec
def shadho_search_started(search: Any) -> None:
    """A search begins or goes on.

    ``search`` is a `shadho.result.SearchInfo`: exp_key, method, limits, what was recorded before.
    """


@hookspec
def shadho_plan_changed(classes: Sequence[ComputeClass], placement: Sequence[ClassPlan]) -> None:
    """The compute classes are these from now on, and the policy intends this with them.

    ``placement`` is empty for a policy that does not plan.
    """


@hookspec
def shadho_trial_dispatched(trial: Trial) -> None:
    """A trial was handed to the backend."""


@hookspec
def shadho_trial_finished(trial: Trial) -> None:
    """A trial is done or has failed; its result is recorded."""


@hookspec
def shadho_attempt_ended(trial: Trial, result: Result) -> None:
    """An attempt at a trial ended, and the trial did not: it was paused, or waits for its next attempt.

    ``result.state`` is PAUSED; LOST, with its worker; or CANCELLED: ``result.reason`` says why: 'moved', 'left' or 'ended'.
    """


@hookspec
def shadho_trial_reported(trial: Trial, report: Report) -> None:
    """A running trial has reported; the report may not be durable yet."""


@hookspec
def shadho_search_finished(result: Any) -> None:
    """The search has ended; ``result`` is the `shadho.result.SearchResult` that ``run()`` returns."""


@hookspec
def shadho_should_stop(trial: Trial) -> bool:  # type: ignore[empty-body]
    """Whether the search should end, asked after each finished trial; any True ends it."""
