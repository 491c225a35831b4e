"""Progress as plain lines, and what every display knows of a search."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Sequence

from shadho.plugins.hookspecs import hookimpl
from shadho.records import ComputeClass, Result, Trial, TrialState
from shadho.result import SearchInfo, SearchResult, format_best, format_counts, format_request, format_rungs
from shadho.scheduling import ClassPlan
from shadho.streams import say
from shadho.words import WIDTH, counted, format_seconds, printable, shorten, wrapped

__all__ = ['PlainDisplay', 'describe_failure', 'describe_rate']


class PlainDisplay:
    """Lines when the search begins and every few seconds; at its end the summary, and where it is kept.

    None is wider than 80 columns, unless a word is.

    Parameters
    ----------
    interval : float, default 10.0
        Seconds between lines.
    """

    LINES: float = math.inf
    """What trials print is shown beside it, at most so many lines a second."""

    FAILURES = 3
    """Failed trials that are told of: the first ones here, the latest ones in the live panel."""

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval
        self.running: dict[int, str] = {}  # the class of each trial
        self.finished: Counter[TrialState] = Counter()
        self.per_class: Counter[str] = Counter()
        self.paused: set[int] = set()
        self.recent: deque[tuple[float, str]] = deque(maxlen=200)
        self.failures: deque[Trial] = deque(maxlen=self.FAILURES)
        self.classes: Sequence[ComputeClass] = ()
        self.plans: dict[str, ClassPlan] = {}
        self.best: Trial | None = None
        self.line_at = time.monotonic()

    @hookimpl
    def shadho_plan_changed(self, classes: Sequence[ComputeClass], placement: Sequence[ClassPlan]) -> None:
        self.classes = classes
        self.plans = {own.name: own for own in placement}

    @hookimpl
    def shadho_search_started(self, search: SearchInfo) -> None:
        self.info = search
        self.classes = search.classes
        self.best = search.best
        self.begun = search.now()
        self.recent.append((self.begun, ''))
        self.recorded = search.recorded
        self.paused.update(search.paused)
        self.begin()

    @hookimpl
    def shadho_trial_dispatched(self, trial: Trial) -> None:
        self.running[trial.id] = trial.compute_class  # perhaps not for the first time
        self.paused.discard(trial.id)

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        self.running.pop(trial.id, None)
        self.finished[trial.state] += 1
        self.paused.discard(trial.id)
        self.per_class[trial.compute_class] += 1
        self._note(trial)

    @hookimpl
    def shadho_attempt_ended(self, trial: Trial, result: Result) -> None:
        self.running.pop(trial.id, None)
        if trial.state is TrialState.PAUSED:
            self.paused.add(trial.id)
            self._note(trial)

    def _note(self, trial: Trial) -> None:
        self.recent.append((self.info.now(), trial.compute_class))
        if trial.state is TrialState.FAILED:
            self.failures.append(trial)
            self.tell_failure(trial)
        elif self._is_better(trial):
            self.best = trial
        self.tick()

    @hookimpl
    def shadho_search_finished(self, result: SearchResult) -> None:
        self.end()
        say(result.ending())

    def _is_better(self, trial: Trial) -> bool:
        if self.best is None or self.best.loss is None or trial.loss is None:
            return True
        return self.info.goal.rank(trial) < self.info.goal.rank(self.best)

    # --- what the two displays show --------------------------------------------------------------

    def headline(self) -> str:
        """Say what is searched, how and where."""
        info = self.info
        trees = counted(info.forest.count, 'tree')
        classes = (
            '; '.join(f'{own.name} x {own.slots}, {format_request(own)} each' for own in self.classes)
            or 'no workers yet'
        )
        resumed = f', going on after {counted(self.recorded, "trial")}' if self.recorded else ''
        fidelity = '' if info.max_steps is None else f'{info.fidelity} to {info.max_steps} steps, '
        plan = f'method {info.method}, {fidelity}policy {info.policy}, {info.backend} backend ({classes})'
        return printable(f'{info.exp_key}: {trees}, {plan}{resumed}')

    def counts(self) -> str:
        """Say how many trials are finished, failed and running; those of earlier runs count as finished."""
        total = self.recorded + sum(self.finished.values()) + len(self.paused)
        failed = self.info.failed + self.finished[TrialState.FAILED]
        return format_counts(total, failed, len(self.running), len(self.paused), self.info.limit)

    def rate(self) -> float:
        """Return trials per second, of late."""
        return self._per_second(len(self.recent) - 1)

    def rates(self) -> dict[str, float]:
        """Return trials per second of each compute class, of late."""
        _, *since = (name for _, name in self.recent.copy())  # which the search adds to while the panel is redrawn
        return {name: self._per_second(count) for name, count in Counter(since).items()}

    def _per_second(self, count: int) -> float:
        span = self.info.now() - self.recent[0][0]
        return count / span if span > 0 else 0.0

    def remaining(self) -> float | None:
        """Return seconds until the nearer limit, as far as it can be told."""
        limits = []
        if self.info.timeout is not None:
            limits.append(self.begun + self.info.timeout - self.info.now())
        if self.info.limit is not None and self.rate() > 0:
            left = self.info.limit - self.recorded - sum(self.finished.values()) - len(self.paused)
            limits.append(left / self.rate())
        return max(0.0, min(limits)) if limits else None

    def best_line(self, limit: int = 200) -> str:
        """Say which trial is best, with its parameters in at most `limit` characters."""
        return format_best(self.best, self.info.loss_name, limit)

    def rungs_line(self) -> str:
        """Say how many trials have reached each rung; nothing without rungs."""
        counts = self.info.rungs()
        return format_rungs(counts) if counts else ''

    # --- plain lines -------------------------------------------------------------------------------

    def begin(self) -> None:
        _say(self.headline())

    def tick(self) -> None:
        now = time.monotonic()
        if now - self.line_at >= self.interval:
            self.line_at = now
            left = self.remaining()
            rest = f', {format_seconds(left)} left' if left is not None else ''
            counts, best = f'{self.counts()}, {describe_rate(self.rate())}{rest}', self.best_line()
            one = f'{counts}; {best}'
            first, *more = [one] if len(one) <= WIDTH else [counts, best]
            _say(first)
            for line in filter(None, [*more, self.rungs_line()]):
                say(shorten(f'    {line}', WIDTH))

    def tell_failure(self, trial: Trial) -> None:
        told = self.finished[TrialState.FAILED]
        if told <= self.FAILURES:
            more = '; the summary counts any others' if told == self.FAILURES else ''
            _say(describe_failure(trial) + more)

    def end(self) -> None:
        pass


def _say(line: str) -> None:
    """Say a line, broken where it is wider than a terminal as it opens."""
    say('\n'.join(wrapped(line)))


def describe_failure(trial: Trial) -> str:
    """Say in a line which trial failed, and why."""
    error = trial.error
    reason = (
        '' if error is None else f' ({error.kind}: {error.message.splitlines()[0] if error.message else "no message"})'
    )
    return printable(f'trial {trial.id} failed{reason}')


def describe_rate(rate: float, of: str = ' trials') -> str:
    """Write a rate for people.

    Examples
    --------
    >>> describe_rate(1234.5), describe_rate(0.2), describe_rate(2.5, of='')
    ('1,234 trials/s', '12 trials/min', '2.5/s')
    """
    if rate >= 100:
        return f'{rate:,.0f}{of}/s'
    return f'{rate:.3g}{of}/s' if rate >= 1 or rate == 0 else f'{rate * 60:.3g}{of}/min'
