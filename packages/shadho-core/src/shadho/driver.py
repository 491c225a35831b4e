"""The driver: the loop that starts trials, collects their results and stops the search."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from shadho.backends import Answer, Backend, Job
from shadho.cluster import ClusterNotes, ServiceWarnings, Usage
from shadho.errors import BackendError, LedgerError
from shadho.execution.folders import Folders
from shadho.interrupts import Interrupts
from shadho.jsontags import readable
from shadho.plugins import Registry
from shadho.records import (
    ClassesChanged,
    ComputeClass,
    FolderRemoved,
    Report,
    Result,
    RunEnded,
    Trial,
    TrialError,
    TrialState,
)
from shadho.result import ClassUse, SearchInfo, SearchResult, where_printed
from shadho.scheduling import ClassPlan, Move, Slot
from shadho.search import Search
from shadho.storage import Storage
from shadho.streams import Echo, say
from shadho.words import counted, format_size, printable

if TYPE_CHECKING:
    from shadho.live.lines import PlainDisplay

__all__ = ['Driver', 'RunOptions']

log = logging.getLogger('shadho')

_LONGEST_WAIT = 1.0
"""Longest wait (s) for results before the driver checks limits and workers again. Shorter waits react sooner, but wake the
process more often. Chosen."""

_MOST_FAILED = 100
"""Upper bound on suggestions per turn that cannot be computed. If a callback always raises, limits still apply. Chosen."""

_COST_WEIGHT = 0.5
"""What slots are told of costs in a search that no limit ends. Chosen: with 1 throughout, targets that only long trials reach are
missed."""

_AT_THE_END = ('max_tasks', 'timeout', 'finished', 'plugin')
"""Reasons for which a search ends as it was meant to; one that was interrupted will be resumed."""

_SHORT = 0.005
"""Seconds of a trial below which the next one is queued at the busy worker. Queueing hides the driver's latency, but commits
to a trial earlier. Chosen."""


@attrs.frozen
class RunOptions:
    """When a run ends, and what it shows: see the arguments of `Shadho`.

    Attributes
    ----------
    registry : Registry
        The observers.
    max_tasks : int or None
    timeout : float or None
    max_retries : int
    display, echo : bool
    cost_aware : bool or None
        As the user has said; None: but not on a single slot.
    limit_name : str
        How the caller knows `max_tasks`, for messages.
    folders : int or None
        Upper bound on the bytes of the folders of paused trials.
    keep_folders : bool
        Whether the folders of paused trials stay at the end of the search.
    """

    registry: Registry
    max_tasks: int | None
    timeout: float | None
    max_retries: int
    display: bool
    echo: bool
    cost_aware: bool | None = None
    limit_name: str = 'max_tasks'
    folders: int | None = None
    keep_folders: bool = True


class Driver:
    """One run of a search, from the first free slot to the last result."""

    def __init__(
        self, job: Job, options: RunOptions, search: Search, storage: Storage, backend: Backend, interrupts: Interrupts
    ) -> None:
        self.job = job
        self.options = options
        self.search = search
        self.storage = storage
        self.backend = backend
        elapsed = search.ledger.time
        self.notes = ClusterNotes(storage, backend, elapsed)
        display = _new_display() if options.display else None
        self.registry = options.registry if display is None else options.registry.extended(display)
        self.origin = backend.now() - elapsed
        self.deadline = math.inf if options.timeout is None else elapsed + options.timeout
        self.classes: Sequence[ComputeClass] = ()
        self.placement: Sequence[ClassPlan] = ()
        self.warnings = ServiceWarnings(job.classes)
        self.ledger = search.ledger
        self.usage = Usage(self.ledger, elapsed)
        self.ledger.write_to(storage.append)
        self.folders = (
            None if job.folders is None else Folders(job.folders, search.ledger, search.best, options.folders)
        )
        self.has_removed = False  # folders of paused trials
        self.flushed = -math.inf
        backend.hear = self._hear_there
        self.unsent: dict[int, Trial] = {}  # trials of the ledger's `running` that the backend does not have yet
        self.paces: deque[float] = deque(maxlen=20)  # seconds of the latest trials; one long trial ends queueing
        self.ended = 0  # attempts
        self.stopped = ''
        self.interrupts = interrupts
        self.echo = Echo(math.inf if display is None else display.LINES) if options.echo else None

    def now(self) -> float:
        """Seconds of active search over all runs."""
        return self.backend.now() - self.origin

    def run(self) -> SearchResult:
        self.search.begin_run()
        try:
            self._tidy_folders()
            self._discover()
            self.registry.notify('shadho_search_started', search=self._info())
            recorded = self.ledger.resting
            self._loop()
            self._cancel_running()
            if not self.ended and self.stopped in ('max_tasks', 'finished'):
                log.warning(
                    'nothing was evaluated: the storage already holds all requested trials (%s, %d failed). Raise %s to '
                    'continue; to start over, give another exp_key or remove %s',
                    counted(recorded, 'trial'), self.search.history.states[TrialState.FAILED], self.options.limit_name, self.storage,
                )  # fmt: skip
        except BaseException:
            self.stopped = 'error'
            self._cancel_running()
            raise
        finally:
            result = self._result()
            self.registry.notify('shadho_search_finished', result=result)
            if self.echo and self.echo.left_out:
                lines = counted(self.echo.left_out, 'line that trials printed was', 'lines that trials printed were')
                say(f'{lines} not shown\n{where_printed(self.storage)}')
        return result

    def _loop(self) -> None:
        """Fill slots, flush the log, start trials and learn from results, until the search is over."""
        finished: list[Trial] = []
        while not self._is_over():
            self._discover()
            for trial in self._fill_slots():
                if trial.attempt and self.folders is not None:
                    self.folders.resume(trial.id)
                if trial.error is None:
                    self.unsent[trial.id] = trial
                else:  # its parameters could not be computed
                    finished.append(trial)
            self._tell_plan()
            self.storage.flush()  # one write for the results of the last poll and the trials chosen from them
            self._announce(finished)
            finished = []
            if self.stopped:
                break
            for trial in list(self.unsent.values()):
                self.backend.start(trial)
                del self.unsent[trial.id]
                self.registry.notify('shadho_trial_dispatched', trial=trial)
            self.notes.note_workers(self.now())
            for result in self._poll():
                finished += self._learn(result)
        self.storage.flush()
        self._announce(finished)

    def _is_over(self) -> bool:
        if self.interrupts.name:
            self.stopped = self.interrupts.name
        elif self.now() >= self.deadline:
            self.stopped = 'timeout'
        elif not self.ledger.running and not self.stopped:
            if self._remaining() <= 0:
                self.stopped = '' if self._may_promote() else 'max_tasks'
            elif self.search.finished:
                self.stopped = 'finished'
        return bool(self.stopped)

    def _may_promote(self) -> bool:
        """Whether a paused trial is to go on."""
        with contextlib.closing(self.search.fidelity.promotable()) as promotable:
            return next(promotable, None) is not None

    def _remaining(self) -> float:
        """Number of trials that `max_tasks` still allows to begin; those that wait count as if they had not."""
        limit = self.options.max_tasks
        return math.inf if limit is None else limit - (self.search.history.asked - self.ledger.waiting_count)

    def _fill_slots(self) -> Iterator[Trial]:
        """Yield a trial for each free slot, unless the policy leaves it idle."""
        ahead = 1 + (self.backend.queues_ahead and max(self.paces, default=math.inf) < _SHORT)
        failed = 0
        for compute_class in self.classes:
            while self.ledger.busy(compute_class.name) < compute_class.slots * ahead:
                trial = self._fill(compute_class)
                if trial is None:
                    break
                failed += trial.error is not None
                yield trial
                if failed == _MOST_FAILED:  # a callback may always raise: check the limits first
                    return

    @property
    def _is_cost_aware(self) -> bool:
        return self.search.cost_aware and self.search.policy.is_cost_aware

    def _cost_weight(self, now: float) -> float:
        """Return what a slot is told of costs: 1 at the beginning, and 0 at the end of the search.

        Late in a search, a cheap trial is worth no more than a dear one that still ends in time (A. Lee et al., *Cost-aware Bayesian
        optimization*, 2020).
        """
        if not self._is_cost_aware:
            return 0.0
        if self.options.cost_aware is None and sum(each.slots for each in self.classes) == 1:
            return 0.0  # a serial search repeats exactly
        if self.options.timeout is not None:
            return min(1.0, max(0.0, (self.deadline - now) / self.options.timeout))
        if self.options.max_tasks is not None:
            return 1 - min(1.0, len(self.search.history) / self.options.max_tasks)
        return _COST_WEIGHT

    def _fill(self, compute_class: ComputeClass) -> Trial | None:
        """Begin the policy's choice for a slot: a waiting trial, a new one, or one that moves there."""
        now, remaining = self.now(), self._remaining()
        if remaining <= 0 < self.ledger.waiting_count:
            return None
        slot = Slot(
            compute_class.name,
            may_begin=remaining > self.ledger.waiting_count,
            may_move=self.ledger.busy(compute_class.name) < compute_class.slots,
            trial_timeout=self.job.trial_timeout or math.inf,
            cost_weight=self._cost_weight(now),
        )
        choice = self.search.choose(slot, now)
        if isinstance(choice, Move):
            trial = choice.trial
            log.info(
                'trial %d moves from %s to %s, where it should finish sooner',
                trial.id,
                trial.compute_class,
                slot.compute_class,
            )
            self._end(trial, 'moved')
        return self.search.begin(choice, slot, now)

    def _poll(self) -> Iterator[Result]:
        """Yield results of running attempts; checked one by one, as two may belong to one attempt.

        Reports are recorded and answered.
        """
        timeout = max(0.0, min(self.deadline - self.now(), _LONGEST_WAIT))
        news: Sequence[Report | Result] = self.interrupts.wait(lambda: self.backend.poll(timeout), ())
        self.usage.measure(self.now())
        for each in news:
            if not self.ledger.awaits(each):
                continue
            if isinstance(each, Result):
                yield self._on_search_clock(each)
                continue
            trial = self.ledger.running[each.trial]
            due = self.search.fidelity.until(trial)
            answer = self._hear(each)
            if answer.leave or (due is not None and each.step >= due):
                self.backend.answer(trial, answer)

    def _hear(self, report: Report) -> Answer:
        """Record a report, and return the answer to it."""
        trial = self.ledger.running[report.trial]
        on_time = attrs.evolve(report, results=readable(report.results), time=report.time - self.origin)
        decision = self.search.hear(on_time)
        self.registry.notify('shadho_trial_reported', trial=trial, report=on_time)
        return Answer(self.search.fidelity.until(trial), '' if decision is None else decision.value, report.step)

    def _hear_there(self, report: Report) -> Answer:
        """Do the same for a trial that the backend runs within `poll`, and flush the log at times, as the loop cannot."""
        if not self.ledger.awaits(report):
            return Answer(leave='paused')
        answer = self._hear(report)
        if self.now() - self.flushed > _LONGEST_WAIT:
            self.storage.flush()
            self.flushed = self.now()
        return answer

    def _on_search_clock(self, result: Result) -> Result:
        if result.state is TrialState.LOST and self.ledger.lost(result.trial) >= self.options.max_retries:
            error = TrialError('lost', f'its worker vanished {self.options.max_retries + 1} times; see max_retries')
            result = attrs.evolve(result, state=TrialState.FAILED, error=error)
        if result.state is TrialState.CANCELLED and not result.reason:
            result = attrs.evolve(result, reason='left')
        return result.shifted(-self.origin)

    def _learn(self, result: Result) -> list[Trial]:
        """Record a result; return its trial in a list if it has finished."""
        trial = self.search.record(result)
        self.ended += 1
        if result.state is not TrialState.CANCELLED:  # a backend cancels only attempts that had not begun
            self.usage.count(trial.compute_class, result.seconds or result.finished - result.started)
        if result.output and self.echo and (result.error is None or result.error.kind in ('exception', 'result')):
            self.echo.show(result.output)
        if result.state is TrialState.LOST:
            host = f' {printable(result.host)}' if result.host else ''
            log.warning('trial %d lost its worker%s; it runs again', trial.id, host)
        if not trial.is_finished:
            if trial.state is TrialState.PAUSED and self.folders is not None:
                self.folders.rest(trial)
                self._make_room()
            self._note_ended(trial, result)
            return []
        self.paces.append(result.seconds)
        if trial.error is not None:
            log.info('trial %d failed (%s): %s', trial.id, trial.error.kind, printable(trial.error.message))
        return [trial]

    def _note_ended(self, trial: Trial, result: Result) -> None:
        """Notify observers of an attempt that ended without a result."""
        self.registry.notify('shadho_attempt_ended', trial=trial, result=result)

    def _announce(self, trials: Sequence[Trial]) -> None:
        """Notify observers of finished trials, and remove folders: what led to it is durable by now."""
        if self.folders is not None:
            self.folders.remove()
        for trial in trials:
            if self.folders is not None:
                self.folders.clean(trial.id, self.search.best)
            self.registry.notify('shadho_trial_finished', trial=trial)
            if any(self.registry.notify('shadho_should_stop', trial=trial)):
                self.stopped = 'plugin'

    def _tidy_folders(self) -> None:
        """Make the folders those that the log says."""
        if self.folders is not None:
            self.folders.tidy()
            self._make_room()

    def _make_room(self) -> None:
        """Keep the folders of paused trials within their bound; those to go are removed after the next flush."""
        assert self.folders is not None
        if not self.folders.exceed:
            return
        for number in self.folders.make_room(self.search.best):
            self.search.apply(FolderRemoved(number, self.now()))
            if not self.has_removed:
                self.has_removed = True
                log.warning(
                    'the folders of paused trials take more than %s: those of the worst trials are removed, which begin again at '
                    'their first step if they go on. To keep more of them, raise folders=', format_size(self.options.folders or 0),
                )  # fmt: skip

    def _give_up_folders(self) -> None:
        """Give up the folders of all trials that may go on, at the end of a search, except that of the best."""
        assert self.folders is not None
        best = self.search.best
        for trial in [*self.ledger.paused.values(), *self.ledger.waiting]:
            is_best = best is not None and trial.id == best.id
            if not is_best and self.folders.path(trial.id).is_dir():
                self.folders.give_up(trial.id)
                self.search.apply(FolderRemoved(trial.id, self.now()))

    def _discover(self) -> None:
        classes = list(self.backend.discover())
        if classes != self.classes:
            self.warnings.look(classes)
            self.classes = classes
            self.usage.measure(self.now())
            try:
                self.search.apply(ClassesChanged(classes, self.now()))
            except LedgerError as error:
                raise BackendError(f'backend {self.backend.name!r}: discover() {error}') from error
            self.usage.follow_classes()
            self._tell_plan(has_new_classes=True)
            self.notes.note_classes(classes, self.now())

    def _tell_plan(self, has_new_classes: bool = False) -> None:
        """Notify observers if the classes or the placement have changed."""
        placement = self.search.policy.placement
        if has_new_classes or placement is not self.placement:
            self.placement = placement
            self.registry.notify('shadho_plan_changed', classes=tuple(self.classes), placement=placement)

    def _cancel_running(self) -> None:
        """End running trials, and record the end of the run and the use of its classes."""
        for trial in list(self.ledger.running.values()):
            with self._despite_errors():
                self._end(trial, 'ended')
        if self.folders is not None and not self.options.keep_folders and self.stopped in _AT_THE_END:
            self._give_up_folders()
        with self._despite_errors():
            self.search.apply(RunEnded(self.now(), self.stopped))
        with self._despite_errors():
            self.storage.flush()
            if self.folders is not None:
                self.folders.remove()
                self.folders.close()
            self.storage.update(uses=self.usage.to_plain())
            self.notes.clear()

    def _despite_errors(self) -> contextlib.AbstractContextManager[None]:
        """After an error, let the rest be done whatever fails: the first error is the one to raise."""
        return contextlib.suppress(Exception) if self.stopped == 'error' else contextlib.nullcontext()

    def _end(self, trial: Trial, reason: str) -> None:
        """End the attempt of a running trial, and record that."""
        if self.unsent.pop(trial.id, None) is None:
            with self._despite_errors():
                self.backend.stop(trial)
        now = self.now()
        started = now if trial.started is None else trial.started
        self.usage.count(trial.compute_class, now - started)
        ended = Result(
            trial.id, TrialState.CANCELLED, started=started, finished=now, attempt=trial.attempt, reason=reason
        )
        self._note_ended(self.search.record(ended), ended)

    def _result(self) -> SearchResult:
        search = self.search
        return SearchResult(
            self.job.exp_key, search.leaders, self.stopped, self.ledger.time, self.storage, search.forest,
            self.ledger.overview(), search.direction, search.seed, self._uses(), search.loss_key,
        )  # fmt: skip

    def _uses(self) -> list[ClassUse]:
        return self.usage.so_far(self.now(), self.search.policy.placement)

    def _info(self) -> SearchInfo:
        search = self.search
        return SearchInfo(
            self.job.exp_key, self.backend.name, search.sampler.title,
            search.policy.name + ' (cost-aware)' * self._is_cost_aware, str(self.storage), search.direction,
            search.seed, tuple(self.classes), self.options.max_tasks, self.options.timeout, len(search.history),
            search.history.states[TrialState.FAILED], search.best, search.forest, self.now,
            search.trials_per_tree, search.loss_key, self._uses, search.max_steps, search.fidelity.name,
            tuple(self.ledger.paused), self.ledger.reached_rungs,
        )  # fmt: skip


def _new_display() -> PlainDisplay:
    from shadho.live import make_display

    return make_display()
