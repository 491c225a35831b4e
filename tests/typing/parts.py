"""What users write to extend SHADHO, as type checkers see it: this file is checked, and run by no test."""

# pyright: strict

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

from shadho import ComputeClass, SearchResult, Shadho, Trial, hookimpl
from shadho.backends import Backend, Job
from shadho.forest import Dimension, Tree
from shadho.records import ClassesChanged, Event, Result
from shadho.result import SearchInfo
from shadho.samplers import Sampler, SamplerContext, Suggestion
from shadho.scheduling import ClassPlan, Heuristic, Policy, PolicyContext
from shadho.storage import Metadata, Storage
from shadho.table import Table


class Serial(Backend):
    """A backend."""

    name = 'serial'

    @classmethod
    def affinity(cls, job: Job) -> int:
        return -1 if job.is_command else 0

    def open(self, job: Job) -> None:
        self._job = job
        self._waiting: list[Trial] = []

    def close(self) -> None:
        self._waiting.clear()

    def discover(self) -> Sequence[ComputeClass]:
        return [ComputeClass('serial', 1, {'cores': 4}, {'cores': 1})]

    def start(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def stop(self, trial: Trial) -> None:
        self._waiting.remove(trial)

    def poll(self, timeout: float | None) -> Sequence[Result]:
        trials, self._waiting = self._waiting, []
        return [Result.of(own.id, self._job.objective.evaluate(own.params, own.id)) for own in trials]


class Middle(Sampler):
    """A sampler with an option of its own."""

    name = 'middle'
    aliases = ('centre',)

    def __init__(self, context: SamplerContext, *, place: float = 0.5) -> None:
        super().__init__(context)
        self.place = place

    def ask(self, tree: Tree, number: int) -> Suggestion | None:
        assert_type(tree.dimensions, tuple[Dimension, ...])
        assert_type(self.context.pending, list[Trial])
        return Suggestion(tree, np.full(len(tree), self.place))

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        assert_type(suggestion.point, npt.NDArray[np.float64])

    def promise(self, trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
        return None


class Turns(Policy):
    """A policy."""

    name = 'turns'

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._left = list(range(context.forest.count))

    def on(self, event: Event, trial: Trial | None) -> None:
        if isinstance(event, ClassesChanged):
            self.placement = tuple(ClassPlan(own.name, own.slots, 0.0, ((0, 1.0),)) for own in event.classes)

    def pick(self, compute_class: str, now: float) -> Tree | None:
        return self.forest.tree(self._left[self.history.asked % len(self._left)]) if self._left else None

    def exclude(self, tree: Tree) -> None:
        self._left.remove(tree.index)


class Width(Heuristic):
    """A heuristic."""

    name = 'width'

    def scores(self, trees: Sequence[Tree], history: Table) -> npt.NDArray[np.float64]:
        return np.array([float(len(tree)) for tree in trees])


class Listed(Storage):
    """A storage."""

    name = 'listed'
    suffixes = ('.list',)

    def __init__(self) -> None:
        self._records: list[Event] = []
        self._metadata: Metadata = {}

    def open(self) -> None: ...

    def close(self) -> None: ...

    def append(self, event: Event) -> None:
        self._records.append(event)

    def flush(self) -> None: ...

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        yield from enumerate(self._records[after:], after + 1)

    def metadata(self) -> Metadata:
        return dict(self._metadata)

    def update(self, **values: Any) -> None:
        self._metadata.update(values)


class Observer:
    """An observer: only the hooks that it wants."""

    @hookimpl
    def shadho_search_started(self, search: SearchInfo) -> None:
        print(search.exp_key, search.limit)

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        print(trial.loss)

    @hookimpl
    def shadho_should_stop(self, trial: Trial) -> bool:
        return trial.loss is not None and trial.loss < 0.1

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        print(result.summary())


@hookimpl
def shadho_register_samplers() -> list[type[Sampler]]:
    return [Middle]


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [Serial]


def use_them(space: dict[str, Any]) -> SearchResult:
    opt = Shadho(
        'typed', lambda params: params['x'], space, Middle, max_tasks=10, backend=Serial(), storage=Listed(), policy=Turns,
        plugins=[Observer()],
    )  # fmt: skip
    return opt.run()
