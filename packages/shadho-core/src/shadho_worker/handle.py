"""The handle of a trial, through which an objective knows its trial and reports."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from shadho_worker.as_json import jsonable
from shadho_worker.outcomes import Outcome, failed, outcome

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ['LAST_STEP', 'Answer', 'Tell', 'TrialHandle', 'takes_trial', 'warn']

LAST_STEP = 10**15
"""Upper bound on the number of a step; larger ones are corrupt."""

Answer = Mapping[str, Any]
"""The answer to a report: ``until``, the step at which the trial waits for the next answer, or ``leave``: 'paused' or 'stopped'."""

Tell = Callable[[int, Mapping[str, Any], bool], 'Answer | None']
"""Sends a report: its step, its results, and whether to wait for the answer. Returns the answer; None if there is none yet."""


class TrialHandle:
    """A trial, as its objective sees it.

    An objective that has a second parameter gets it::

        def objective(params, trial):
            model = load(trial.folder / f'{trial.step}') if trial.step else build(params)
            for step in trial.steps():
                trial.report(loss=train(model))
            if trial.is_paused:
                save(model, trial.folder / f'{step}')

    Attributes
    ----------
    id : int
    attempt : int
        The number of this attempt at the trial, from 0.
    seed : int
        Differs from trial to trial, and is the same in every attempt. Below 2**32.
    compute_class : str
    resources : dict
        The trial's resource request, such as ``{'cores': 1}``.
    step : int
        The last step of the earlier attempts that were paused, after which this one begins; 0 at first.
    max_steps : int or None
        Steps of a trial that runs to its end.
    facts : mapping
        What all this was made of, as it travels.
    """

    def __init__(self, facts: Mapping[str, Any], tell: Tell | None = None) -> None:
        self.facts = facts
        self.id: int = facts['id']
        self.attempt: int = facts['attempt']
        self.seed: int = facts['seed']
        self.compute_class: str = facts['compute_class']
        self.resources: dict[str, Any] = dict(facts['resources'])
        self.step: int = facts['step']
        self.max_steps: int | None = facts['max_steps']
        self._until: int | None = facts['until']
        self._folder: str | None = facts['folder']
        self._loss_key: str = facts['loss_key']
        self._tell = tell
        self._last: int = self.step
        self._current = 0  # the step of `steps`
        self._results: dict[str, Any] | None = None  # of the last report, as JSON
        self._loss: Any = None
        self._end = ''  # 'paused', 'stopped', or 'done' after the last step
        self._timing: dict[str, float] = {}  # seconds of parts of the attempt
        self._since = 0.0  # when the attempt began, or was paused
        self.begin()

    def begin(self) -> None:
        """Let the time of the attempt begin, right before the objective."""
        self._since = time.perf_counter()

    @property
    def folder(self) -> Path:
        """A folder of this trial alone, created when it is first accessed.

        Its content is there again in every later attempt, wherever that runs.
        """
        from pathlib import Path  # which takes longer to import than all else here

        if self._folder is None:
            import tempfile

            self._folder = tempfile.mkdtemp(prefix=f'shadho-{self.id}-')
        path = Path(self._folder)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what a trial saves is nobody else's to read
        path.mkdir(exist_ok=True)
        return path

    @property
    def should_stop(self) -> bool:
        """Whether to leave, as all steps are done, or the search has paused or stopped the trial."""
        return self._end != ''

    @property
    def decision(self) -> str:
        """Why the trial should be left, which is 'paused', 'stopped', or 'done' after the last step; '' while it goes on."""
        return self._end

    @property
    def reported(self) -> int:
        """The last step that was reported, in this attempt or those that were paused; 0 if none was."""
        return self._last

    @property
    def has_reported(self) -> bool:
        """Whether this attempt has reported."""
        return self._results is not None

    @property
    def is_paused(self) -> bool:
        """Whether the search has paused the trial, which may go on later from its `folder`."""
        return self._end == 'paused'

    def steps(self, start: int | None = None) -> Iterator[int]:
        """Yield the numbers of the steps to do, until the trial is complete, paused or stopped.

        Parameters
        ----------
        start : int, optional
            The last step that is already done, such as that of a checkpoint; by default `step`.
        """
        self._timing.setdefault('load' if self.step else 'setup', time.perf_counter() - self._since)
        done = self.step if start is None else start
        while not self.should_stop and (self.max_steps is None or done < self.max_steps):
            done += 1
            self._current = done
            yield done
        self._current = 0

    def report(self, values: Any = None, /, *, step: int | None = None, **more: Any) -> bool:
        """Report the results of a step; never raises.

        Parameters
        ----------
        values : float or mapping, optional
            The loss, or results by name.
        step : int, optional
            By default the current step of `steps`, or the one after the last report. A step that does not increase is dropped with a
            warning.
        **more
            Further results by name, as in ``report(loss=0.3, accuracy=0.9)``.

        Returns
        -------
        bool
            Whether to go on.
        """
        try:
            self._report(values, step, more)
        except Exception as error:
            warn(f'trial {self.id}: the report is dropped: {type(error).__name__}: {error}')
        return not self.should_stop

    def _report(self, values: Any, step: int | None, more: Mapping[str, Any]) -> None:
        if self.should_stop:
            return
        given: dict[str, Any] = (
            dict(values) if hasattr(values, 'keys') else {} if values is None else {self._loss_key: values}
        )
        number = int(step) if step is not None else self._current or self._last + 1
        if number > LAST_STEP:
            raise ValueError(f'there is no step {number:.3g}')
        if number <= self._last:
            warn(f'trial {self.id}: the report of step {number} comes after that of step {self._last}, and is dropped')
            return
        given.update(more)
        results = jsonable(given)
        self._last, self._results, self._loss = number, results, given.get(self._loss_key)
        is_last = self.max_steps is not None and number >= self.max_steps
        is_due = not is_last and self._until is not None and number >= self._until
        if is_last:
            self._end = 'done'
        elif is_due and self._tell is None:
            self._end = 'paused'
        if self._tell is not None:
            self._hear(self._tell(number, results, is_due))
        if self._end == 'paused':
            self._since = time.perf_counter()

    def _hear(self, answer: Answer | None) -> None:
        if answer is None:
            return
        self._until = answer.get('until', self._until)
        self._end = self._end or answer.get('leave', '')  # no answer undoes the last step

    def outcome(self, returned: Any, loss_key: str) -> Outcome:
        """Return the outcome of an objective from its return value and its reports."""
        if self._end in ('paused', 'stopped'):
            saved = {'save': time.perf_counter() - self._since} if self.is_paused else {}
            timing = {**self._timing, **saved}
            return {**self._judged(loss_key), 'state': self._end, 'error': None, 'step': self._last, 'timing': timing}
        if returned is None and self._results is None:
            message = (
                'the objective has neither reported nor returned a loss: call trial.report(loss=...), or return one'
            )
            return {**failed('result', message), 'step': self._last}
        found = self._judged(loss_key) if returned is None else outcome(returned, loss_key)
        return {**found, 'step': self._last, 'timing': self._timing}

    def _judged(self, loss_key: str) -> Outcome:
        """Return the outcome of the last report, whose results are JSON by now, but not its loss."""
        known = dict.fromkeys(self._results or {})
        if loss_key in known:
            known[loss_key] = self._loss
        return {**outcome(known, loss_key), 'results': self._results}


def takes_trial(function: Callable[..., Any]) -> bool:
    """Whether a function asks for the handle of the trial, by a second parameter without a default, or one named ``trial``.

    Examples
    --------
    >>> takes_trial(lambda params, trial: 1.0), takes_trial(lambda params, verbose=False: 1.0)
    (True, False)
    """
    if not hasattr(function, '__wrapped__') and getattr(getattr(function, '__code__', None), 'co_argcount', 2) < 2:
        return False
    import inspect  # slow to import, which a script of a function of the parameters alone need not wait for

    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of some built-in functions
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [parameter for parameter in parameters if parameter.kind in kinds][1:2]
    return any(parameter.default is parameter.empty or parameter.name == 'trial' for parameter in second)


def warn(message: str) -> None:
    """Write a message to standard error, if it is there."""
    try:
        sys.stderr.write(f'{message}{os.linesep}')
    except Exception:  # an objective may have closed it
        pass
