"""The callbacks of scikit-learn 1.9 and later (``set_callbacks``): which tasks of a search they are told of.

The tasks are those of scikit-learn's own searches: the search as a whole, within it each fit on a split,
and the refit. Where trials run in processes of their own, callbacks are called there, as copies, which is
how scikit-learn's callbacks expect it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

__all__ = ['Task', 'whole_task']


@attrs.define(slots=False)
class Task:
    """One task of a search, beside what callbacks are told with it.

    Attributes
    ----------
    search : estimator
    context : sklearn.callback.CallbackContext
    data : mapping
        ``X``, ``y`` and ``metadata`` of scikit-learn's hooks.
    """

    search: Any
    context: Any
    data: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind, for another process, what is of no use there or may not leave this one."""
        search = copy.copy(self.search)
        stays = dict.fromkeys(('backend', 'storage', 'search_options'))
        vars(search).clear()
        vars(search).update({**self.search.get_params(deep=False), **stays})
        return {'search': search, 'context': self.context, 'data': {}}

    @contextmanager
    def part(self, name: str, estimator: Any = None, **options: Any) -> Iterator[Task]:
        """Tell callbacks when a part of the task begins and ends; let those of `estimator` know where they are."""
        told = {} if estimator is None else dict(self.data)
        task = Task(self.search, self.context.subcontext(task_name=name, **options), told)
        if estimator is None:
            task.begin()
            yield task
        else:
            with task.context.propagate_callback_context(estimator):
                task.begin()
                yield task
        task.end()

    def begin(self) -> None:
        self.context.call_on_fit_task_begin(estimator=self.search, **self.data)

    def end(self) -> None:
        self.context.call_on_fit_task_end(estimator=self.search, **self.data)

    def arguments(self, number: int) -> dict[str, Any]:
        """Return what scikit-learn needs to tell callbacks of the fit of this number."""
        context = self.context.subcontext(task_name='candidate-split-evaluation', task_id=number)
        return {'caller': self.search, 'callback_ctx': context}


def whole_task(search: Any, estimators: Any, data: Mapping[str, Any]) -> Task | None:
    """Return the task of a whole search, or None where nobody is to be told of it.

    Parameters
    ----------
    search : estimator
    estimators : list of estimator
        Whose callbacks, and those of their parts, are to know where they are called.
    data : mapping
    """
    parts = [search, *estimators, *(part for own in estimators for part in own.get_params().values())]
    if not any(hasattr(part, '_skl_callbacks') for part in parts):
        return None
    return Task(search, search._init_callback_context(max_subtasks=1 + (search.refit is not False)), data)
