"""What a search tells of itself: at its beginning to observers, at its end to whoever ran it."""

from __future__ import annotations

import heapq
import html
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from shadho.checks import check_whole
from shadho.errors import StorageError
from shadho.forest import Forest
from shadho.goal import Goal
from shadho.ledger import Ledger
from shadho.recommend import recommended
from shadho.records import ComputeClass, Report, Result, Trial, TrialError, TrialState
from shadho.scheduling import ClassPlan
from shadho.storage import LogIndex, Storage, replay
from shadho.storage.base import FileStorage
from shadho.table import Table
from shadho.words import (
    WIDTH,
    counted,
    flat,
    format_loss,
    format_params,
    format_price,
    format_seconds,
    html_table,
    printable,
    shorten,
    text_of,
    wrapped,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    'ClassUse',
    'SearchInfo',
    'SearchResult',
    'describe_bound',
    'finished_trials',
    'format_best',
    'format_busy',
    'format_counts',
    'format_outcome',
    'format_recommended',
    'format_request',
    'format_rungs',
    'format_shares',
    'format_states',
    'format_worth',
    'is_driver_bound',
    'name_of_loss',
    'read_finished',
    'reason_of',
    'where_printed',
]


@attrs.frozen
class SearchInfo:
    """What observers learn when a search begins or goes on.

    Attributes
    ----------
    exp_key, backend, method, policy, storage, direction : str
    seed : int
    classes : tuple of ComputeClass
    max_tasks : int or None
        Trials of the whole search.
    timeout : float or None
        Seconds of this run.
    recorded : int
        Trials that have ended in earlier runs, failed ones included.
    failed : int
        How many of them failed.
    best : Trial or None
        The best of these.
    forest : Forest
    now : callable
        Seconds of active search, as the times of trials.
    trials_per_tree : int or None
    loss_key : str
        What the objective calls its value.
    uses : callable
        How the compute classes have been used in this run: a list of ClassUse.
    max_steps : int or None
    fidelity : str
    paused : tuple of int
        Ids of the trials that are paused.
    rungs : callable
        How many trials have reached each rung by now, by its step; empty where the fidelity has none.
    """

    exp_key: str
    backend: str
    method: str
    policy: str
    storage: str
    direction: str
    seed: int
    classes: tuple[ComputeClass, ...]
    max_tasks: int | None
    timeout: float | None
    recorded: int
    failed: int
    best: Trial | None
    forest: Forest
    now: Callable[[], float]
    trials_per_tree: int | None = None
    loss_key: str = 'loss'
    uses: Callable[[], Sequence[ClassUse]] = tuple
    max_steps: int | None = None
    fidelity: str = 'full'
    paused: tuple[int, ...] = ()
    rungs: Callable[[], Mapping[int, int]] = dict

    @property
    def goal(self) -> Goal:
        """The name and the direction of the loss."""
        return Goal(self.loss_key, self.direction)

    @property
    def loss_name(self) -> str:
        """What people call the value that is optimised (see `name_of_loss`)."""
        return name_of_loss(self.loss_key, self.direction)

    @property
    def limit(self) -> int | None:
        """Finished trials after which the search ends; None when that is not known."""
        limits = [] if self.max_tasks is None else [self.max_tasks]
        if self.trials_per_tree is not None and not any(leaf.domain.grid for leaf in self.forest.leaves):
            limits.append(self.trials_per_tree * self.forest.count)
        return min(limits, default=None)


@attrs.define
class ClassUse:
    """How a compute class was used in one run of a search.

    Attributes
    ----------
    compute_class : ComputeClass
        As it was last.
    slot_seconds : float
        How long its slots were there, all slots together.
    busy_seconds : float
        How long of that trials ran, by their own seconds: those of trials that were cut off too.
    assigned_seconds : float
        How long of that the slots had a trial, which may have waited for the search.
    plan : ClassPlan or None
        What the policy intended with it last.
    """

    compute_class: ComputeClass
    slot_seconds: float = 0.0
    busy_seconds: float = 0.0
    assigned_seconds: float = 0.0
    plan: ClassPlan | None = None

    def add(self, seconds: float, assigned: int) -> None:
        """Note that so many slots had a trial for a while."""
        slots = self.compute_class.slots
        self.slot_seconds += seconds * slots
        self.assigned_seconds += seconds * min(assigned, slots)

    @property
    def utilisation(self) -> float:
        """The share of the slots' time in which trials ran, from 0 to 1."""
        return min(1.0, self.busy_seconds / self.slot_seconds) if self.slot_seconds > 0 else 0.0


def is_driver_bound(uses: Sequence[ClassUse]) -> bool:
    """Whether slots had trials all along, which ran for less than half of the time: the search was what took it."""
    slots, assigned, busy = _sums(uses)
    return assigned > _ALL_ALONG * slots and busy < assigned / 2


def describe_bound(uses: Sequence[ClassUse]) -> Iterator[str]:
    """Say in a line what driver-bound means, of a search that is."""
    if is_driver_bound(uses):
        _, assigned, busy = _sums(uses)
        yield (f'driver-bound: trials ran {100 * busy / assigned:.2g}% of the time of slots; more slots would not help')


def format_busy(use: ClassUse) -> str:
    """Write which share of a class's time trials ran; a dash where it had none."""
    return f'{use.utilisation:.0%}' if use.assigned_seconds > 0 else '-'


def _sums(uses: Sequence[ClassUse]) -> tuple[float, float, float]:
    rows = [(use.slot_seconds, use.assigned_seconds, use.busy_seconds) for use in uses]
    slots, assigned, busy = map(sum, zip(*rows)) if rows else (0.0, 0.0, 0.0)
    return slots, assigned, busy


_ALL_ALONG = 0.9
"""The share of the slots' time from which they had trials all along."""

_LONGEST_NAME = 40
"""Characters of a loss key that are shown."""

_ROOM = 24
"""Columns that the trees of a compute class must have beside its numbers, lest they stand below these."""

_REASONS = {'finished': 'nothing is left to try'}
"""Reasons to stop that need words."""


class SearchResult:
    """Trials of a search that have ended or are paused, those of earlier runs included.

    Iterating yields every trial that is done, has failed or was stopped, in the order of completion, then those that are paused,
    read from the storage; `len` counts them.

    Attributes
    ----------
    exp_key : str
    stopped : str
        Why the search ended: 'finished' (nothing left to suggest), 'max_tasks', 'timeout',
        'interrupted', 'terminated', 'plugin' or 'error'.
    elapsed : float
        Seconds of active search, all runs together.
    storage : Storage
    forest : Forest
    history : Table
    direction : str
    seed : int
    classes : list of ClassUse
        How the compute classes were used in the run that ended.
    loss_key : str
        Where the objective's dict holds what is optimised.
    """

    def __init__(
        self, exp_key: str, leaders: Sequence[Trial], stopped: str, elapsed: float, storage: Storage, forest: Forest,
        history: Table, direction: str, seed: int, classes: Sequence[ClassUse] = (), loss_key: str = 'loss',
    ) -> None:  # fmt: skip
        self.exp_key = exp_key
        self._leaders = list(leaders)
        self.stopped = stopped
        self.elapsed = elapsed
        self.storage = storage
        self.forest = forest
        self.history = history
        self.direction = direction
        self.seed = seed
        self.classes = list(classes)
        self.loss_key = loss_key
        self._count = len(history)

    @property
    def goal(self) -> Goal:
        """The key and the direction of the loss."""
        return Goal(self.loss_key, self.direction)

    @property
    def loss_name(self) -> str:
        """The name of the value that is optimised, which is its key; 'score' where a 'loss' is maximised."""
        return name_of_loss(self.loss_key, self.direction)

    @property
    def best(self) -> Trial | None:
        """The best of the trials that were run furthest, which are those that are done, if any is; None without a loss."""
        return self._leaders[0].copied() if self._leaders else None

    @property
    def leaders(self) -> list[Trial]:
        """The best trials, at most 30, the best one first."""
        return [trial.copied() for trial in self._leaders]

    def top(self, n: int = 10) -> list[Trial]:
        """Return the n best trials, the best one first; those beyond the `leaders` are read from the storage.

        Raises
        ------
        ConfigurationError
            When n is no integer of 0 or more.
        """
        if check_whole('n', n, 0) <= len(self._leaders):
            return self.leaders[:n]
        known = (trial for trial in self if trial.loss is not None)
        return heapq.nsmallest(n, known, key=self.goal.rank)

    @property
    def recommended(self) -> Trial | None:
        """The trial to rely on where losses are noisy, and the best one is the luckiest.

        That is the one of `leaders` whose expected loss is least, by a Gaussian process of up to 300 trials, whatever method
        suggested them. It is the best one where there is no model: of fewer than 10 trials, in a space of more than 300
        leaves, or where trials were paused or stopped.
        """
        return None if self._recommended is None else self._recommended.copied()

    @cached_property
    def _recommended(self) -> Trial | None:
        return recommended(self.forest, self.history, self._leaders)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Trial]:
        return map(self.decoded, finished_trials(self.storage))

    def reports(self) -> dict[int, list[Report]]:
        """Return what each trial has reported, by its id, in the order of steps.

        Of a step that was repeated after an attempt was lost, it is the latest report.
        """
        found: dict[int, dict[int, Report]] = {}
        for _, event in self.storage.read():
            if isinstance(event, Report):
                found.setdefault(event.trial, {})[event.step] = event
        return {trial: [steps[step] for step in sorted(steps)] for trial, steps in found.items()}

    @cached_property
    def index(self) -> LogIndex:
        """What the storage holds apart from parameters and results, to choose trials by."""
        return self.storage.index()

    def trials(self, rows: Sequence[int]) -> list[Trial]:
        """Return those finished trials that stand in some rows of `index`; no others are read."""
        return [self.decoded(trial) for trial in read_finished(self.storage, self.index, rows)]

    def decoded(self, trial: Trial) -> Trial:
        """Return a trial of the log with its parameters as objects, of which the log may have texts only."""
        if self.forest.keeps_values or trial.params is None:
            return trial
        return attrs.evolve(trial, params=self.forest.tree(trial.tree).decode(trial.point))

    def __repr__(self) -> str:
        best = 'no trial is done' if self.best is None else f'best {self.loss_name} {format_loss(self.best.loss)}'
        return f'<SearchResult of {self.exp_key!r}: {counted(len(self), "trial")}, {best}>'

    def _repr_html_(self) -> str:
        """Show the ten best trials as a table in a notebook."""
        rows = [
            (
                trial.id, format_loss(trial.loss), self.forest.tree(trial.tree).label, '' if trial.seconds is None else f'{trial.seconds:.3g}',
                shorten(', '.join(f'{name}={value}' for name, value in format_params(trial.params)), 200),
            )
            for trial in self.leaders[:10]
        ]  # fmt: skip
        head = ['trial', self.loss_name, 'tree', 'seconds', 'parameters']
        return f'<p>{html.escape(repr(self)[1:-1])}</p>' + (html_table(head, rows) if rows else '')

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row for each finished trial; columns ``params.<path>`` and ``results.<name>``.

        A name that holds a dot or a bracket is quoted, as in ``results['f1.macro']``, so that no two are the same. Needs
        pandas (``pip install pandas``).
        """
        import pandas as pd

        rows = [self.row(trial) for trial in self]
        try:
            return pd.DataFrame(rows)
        except OverflowError:  # pandas 2.0 makes floats of integers beside missing values, however large they are
            return pd.DataFrame(rows, dtype=object)

    def row(self, trial: Trial) -> dict[str, Any]:
        """Return a trial as one row of a table, with a column for each parameter and result."""
        row: dict[str, Any] = {
            'trial': trial.id,
            'state': trial.state.value,
            'loss': trial.loss,
            'tree': trial.tree,
            'label': self.forest.tree(trial.tree).label,
            'compute_class': trial.compute_class,
            'started': trial.started,
            'finished': trial.finished,
            'seconds': trial.seconds,
            'error': None if trial.error is None else trial.error.message,
        }
        if trial.step:
            row['step'] = trial.step
        row.update(flat('params', trial.params))
        if trial.results:
            row.update(flat('results', trial.results))
        return {name: text_of(value) if isinstance(value, str) else value for name, value in row.items()}

    def summary(self) -> str:
        """Describe the search for people, in lines of 80 columns: counts, the best trial, each tree, why trials failed.

        Only what holds no space, such as the path of a file, may make a line longer.
        """
        states = self.history.states
        lines = [
            f'{self.exp_key}: {counted(len(self), "trial")} in {format_seconds(self.elapsed)} '
            f'({format_states(states)}), stopped: {_REASONS.get(self.stopped, self.stopped)}'
        ]
        if self.best is not None:
            label = self.forest.tree(self.best.tree).label
            lines.append(f'best {self.loss_name} {format_loss(self.best.loss)}, trial {self.best.id} ({label})')
            lines += [f'    {name} = {value}' for name, value in format_params(self.best.params)]
            if (hint := format_recommended(self)) is not None:
                lines.append(hint)
        lines += self._trees()
        lines += self._classes()
        if states[TrialState.FAILED]:
            lines += ['failures:', *self._failures()]
        return '\n'.join(piece for line in lines for piece in wrapped(printable(line)))

    def ending(self) -> str:
        """Describe the search at its end: `summary`, then where it is kept and how to look at it."""
        return '\n'.join([self.summary(), *_kept(self.storage)])

    def _trees(self, limit: int = 20) -> list[str]:
        rows = []
        for index in self.history.trees:
            losses, budgets = self.history.losses(index), self.history.budgets(index)
            reach = np.where(np.isnan(budgets), np.inf, budgets)
            known = ~np.isnan(losses)
            furthest = float(reach[known].max(initial=0))
            best = float(losses[known & (reach == furthest)].min(initial=np.inf))
            failed = int((~known & np.isnan(budgets)).sum())
            label, seconds = self.forest.tree(index).label, self.history.seconds(index)
            rows.append((best, label, len(losses), failed, seconds, -furthest))
        rows.sort(key=lambda row: (row[5], row[0]))
        sign = self.goal.sign
        title = shorten(f'best {self.loss_name}', 24)
        shown = [format_loss(sign * row[0] if np.isfinite(row[0]) else None) for row in rows[:limit]]
        room = max(10, *map(len, [title, *shown]))
        most = WIDTH - len(f'  trials  failed  {title:>{room}}   mean seconds')
        width = max([len('tree'), *(len(row[1]) for row in rows[:limit] if len(row[1]) <= most)])
        lines = [f'{"tree":<{width}}  trials  failed  {title:>{room}}   mean seconds']
        for (_, label, count, failed, seconds, _), loss in zip(rows, shown):
            if len(label) > width:  # it has a line of its own
                lines.append(label)
                label = ''
            lines.append(f'{label:<{width}}  {count:>6}  {failed:>6}  {loss:>{room}}   {seconds.mean():>12.3g}')
        if len(rows) > limit:
            lines.append(f'... and {counted(len(rows) - limit, "more tree")}')
        return lines

    def _classes(self, limit: int = 20) -> list[str]:
        """Describe each class: how busy it was, what one more slot is worth, and its trees."""
        if not self.classes:
            return []
        numbers = {name: number for number, name in enumerate(self.history.classes)}
        counts = Counter(self.history.compute_classes().tolist())
        evaluated = any(use.assigned_seconds for use in self.classes)
        table = [('compute class', 'slots', 'busy', 'trials', '+1 slot', 'each asks for', 'trees by their time')]
        for use in self.classes[:limit]:
            own, plan = use.compute_class, use.plan
            trials, worth = counts[numbers.get(own.name, -1)], format_worth(use, self.classes) if evaluated else '-'
            trees = '-' if plan is None else format_shares(plan, self.forest) or '-'
            table.append((own.name, f'{own.slots}', format_busy(use), f'{trials}', worth, format_request(own), trees))
        lines = _set_classes(table)
        if len(self.classes) > limit:
            lines.append(f'... and {counted(len(self.classes) - limit, "more class", "more classes")}')
        return [*lines, *describe_bound(self.classes)]

    def _failures(self, limit: int = 5) -> list[str]:
        reasons: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        try:
            for trial in self:
                if trial.error is not None:
                    reason = reason_of(trial.error)
                    reasons[reason] += 1
                    examples.setdefault(reason, trial.error.message.partition('\n')[0])
        except StorageError as error:
            return [f'    {error}']
        lines = [f'    {count} x {reason[0]}: {examples[reason]}' for reason, count in reasons.most_common(limit)]
        more = len(reasons) - limit
        return lines + ([f'    ... and {counted(more, "more reason")}'] if more > 0 else [])


def _set_classes(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Write the table of compute classes; what has no room in it stands below the row of its class."""
    head, *rows = table
    name, *rights, request, trees = [max(map(len, cells)) for cells in zip(*table)]
    asks = any(row[5] != '1 core' for row in rows)
    used = sum(rights) + 2 * len(rights) + (2 + request if asks else 0)
    room = WIDTH - used - name - 2
    is_wide = room >= max(min(trees, _ROOM), *(len(f'{tree},') for row in rows for tree in row[6].split(', ')))
    name = name if is_wide else min(name, WIDTH - sum(rights) - 2 * len(rights))
    below = '    trees by their time: '
    lines = []
    for row in table:
        cells = [f'{shorten(row[0], name):<{name}}', *(f'{cell:>{width}}' for cell, width in zip(row[1:5], rights))]
        if is_wide:
            cells += [f'{row[5]:<{request}}'] if asks else []
            first, *more = _at_commas(row[6], room)
            lines += ['  '.join([*cells, first]), *(' ' * (used + name + 2) + line for line in more)]
        else:
            lines.append('  '.join(cells))
            if row is not head:
                lines += [f'    each asks for {row[5]}'] if asks else []
                first, *more = _at_commas(row[6], WIDTH - len(below))
                lines += [below + first, *(' ' * 8 + line for line in more)] if row[6] != '-' else []
    return lines


def _at_commas(text: str, width: int) -> list[str]:
    """Break a list of names, which may hold spaces, into lines."""
    if len(text) <= width:
        return [text]
    lines = ['']
    for name in text.split(', '):
        if lines[-1] and len(lines[-1]) + len(name) + 2 >= width:
            lines[-1] += ','
            lines.append(name)
        else:
            lines[-1] += ', ' * bool(lines[-1]) + name
    return lines


def finished_trials(storage: Storage) -> Iterator[Trial]:
    """Yield trials that have ended from a log, in the order of completion, then paused ones; also while it is written."""
    ledger = Ledger()
    with closing(replay(storage, ledger)) as log:
        for _, event, trial in log:
            if trial is not None and trial.is_finished and isinstance(event, Result):
                yield trial
    yield from ledger.paused.values()


def read_finished(storage: Storage, index: LogIndex, rows: Sequence[int]) -> list[Trial]:
    """Return the finished trials of some rows of a storage's index."""
    trials = [(index.numbers[row], index.trials[row], index.results[row]) for row in rows]
    found = storage.at([place for number, begun, ended in trials for place in (*index.places(number, begun), ended)])
    read = [index.begun(number, begun, found).with_result(found[ended]) for number, begun, ended in trials]  # type: ignore[arg-type]
    return [
        attrs.evolve(trial, seconds=index.seconds[row]) if trial.attempt else trial for row, trial in zip(rows, read)
    ]


def format_states(states: Counter[TrialState]) -> str:
    """Write how many trials are in which state.

    Examples
    --------
    >>> format_states(Counter({TrialState.DONE: 12, TrialState.PAUSED: 30}))
    '12 done, 0 failed, 30 paused'
    """
    shown = {TrialState.DONE: 0, TrialState.FAILED: 0} | {state: count for state, count in states.items() if count}
    return ', '.join(f'{states[state]} {state}' for state in TrialState if state in shown)


def reason_of(error: TrialError) -> tuple[str, str]:
    """Return what failures that are alike have in common.

    Messages of exceptions often hold the values that were tried: one stands for all.

    Examples
    --------
    >>> reason_of(TrialError('exception', 'ValueError: C=-1 is negative'))
    ('exception', 'ValueError')
    """
    first = error.message.partition('\n')[0]
    return error.kind, first.partition(':')[0] if error.kind == 'exception' else first


def _kept(storage: Storage) -> Iterator[str]:
    """Say in which file a search is kept, if in any, and what to type next: commands stay whole."""
    if isinstance(storage, FileStorage):
        parts = f'saved in {storage.path}', f'look: shadho report {shlex.quote(str(storage.path))}'
        line = printable('; '.join(parts))
        yield from [line] if len(line) <= WIDTH else map(printable, parts)


def where_printed(storage: Storage) -> str:
    """Say where the output of trials is found."""
    if isinstance(storage, FileStorage):
        return printable(f'all of a trial: shadho trials {shlex.quote(str(storage.path))} <its number>')
    return "the result's trials have them as trial.output"


def format_recommended(result: SearchResult) -> str | None:
    """Say which trial is recommended where losses are noisy; None when it is the best one, or as good."""
    found = result.recommended
    if found is None or result.best is None or found.loss == result.best.loss:
        return None
    extreme = 'highest' if result.goal.sign < 0 else 'least'
    return f'recommended where losses are noisy: trial {found.id} ({result.loss_name} {format_loss(found.loss)}), whose expected {result.loss_name} is {extreme}'


def format_counts(finished: int, failed: int, running: int, paused: int = 0, limit: int | None = None) -> str:
    """Say how many trials have ended, how many of these failed, and how many are running or paused.

    Examples
    --------
    >>> format_counts(1500, 2, 4, limit=2000), format_counts(10, 0, 4, 20)
    ('1,500/2,000 trials, 2 failed, 4 running', '10 trials, 0 failed, 4 running, 20 paused')
    """
    trials = counted(finished, 'trial') if limit is None else f'{finished:,}/{counted(limit, "trial")}'
    rest = f', {paused:,} paused' if paused else ''
    return f'{trials}, {failed:,} failed, {running:,} running{rest}'


def format_rungs(counts: Mapping[int, int]) -> str:
    """Say how many trials have reached each rung.

    Examples
    --------
    >>> format_rungs({1: 1081, 3: 360, 9: 120})
    'rungs  1: 1,081 · 3: 360 · 9: 120'
    """
    return 'rungs  ' + ' · '.join(f'{step:,}: {count:,}' for step, count in counts.items())


def format_outcome(trial: Trial) -> str:
    """Say what came of a trial: its loss, and its state if it is not done.

    Examples
    --------
    >>> format_outcome(Trial(0, 0, (), {}, state=TrialState.PAUSED, loss=0.25, step=9))
    '0.25 (paused at step 9)'
    """
    if trial.state is TrialState.FAILED:
        return 'failed'
    loss = 'no loss' if trial.loss is None else format_loss(trial.loss)
    return loss if trial.state is TrialState.DONE else f'{loss} ({trial.state} at step {trial.step})'


def name_of_loss(loss_key: str, direction: str) -> str:
    """Return what people call the value that is optimised: its key, or a score where a 'loss' is maximised.

    Examples
    --------
    >>> name_of_loss('loss', 'minimize'), name_of_loss('accuracy', 'maximize'), name_of_loss('loss', 'maximize')
    ('loss', 'accuracy', 'score')
    """
    name = 'score' if (loss_key, direction) == ('loss', 'maximize') else loss_key
    return shorten(printable(name), _LONGEST_NAME)


def format_best(best: Trial | None, loss_name: str = 'loss', limit: int = 200) -> str:
    """Say which trial is best, with its parameters in at most `limit` characters."""
    if best is None:
        return 'no trial is done yet'
    params = shorten(', '.join(f'{name}={value}' for name, value in format_params(best.params)), limit)
    return printable(f'best {loss_name} {format_loss(best.loss)} (trial {best.id}: {params})')


def format_request(compute_class: ComputeClass) -> str:
    """Write what a trial asks of a slot of a class.

    Examples
    --------
    >>> format_request(ComputeClass(resources={'cores': 1, 'memory': 4096, 'gpus': 2}))
    '1 core, 4 GiB, 2 GPUs'
    """
    asked = compute_class.resources
    parts = [counted(asked.get('cores', 1), 'core')]
    if asked.get('memory'):
        parts.append(f'{asked["memory"] / 1024:.3g} GiB')
    if asked.get('gpus'):
        parts.append(counted(asked['gpus'], 'GPU'))
    return ', '.join(parts)


def format_worth(use: ClassUse, uses: Sequence[ClassUse]) -> str:
    """Write what one more slot of a class is worth, where slots are what a search waits for."""
    if use.plan is None or use.plan.price <= 0:
        return '-'
    return 'driver-bound' if is_driver_bound(uses) else format_price(use.plan.price)


def format_shares(plan: ClassPlan, forest: Forest) -> str:
    """Write which trees a class is planned to run, by their shares of its time.

    Examples
    --------
    >>> from shadho import spaces
    >>> forest = Forest({'exclusive': True, 'rbf': {'C': spaces.uniform(0, 1)}, 'linear': {}})
    >>> format_shares(ClassPlan('16-core', 20, 0.02, ((0, 0.75), (1, 0.25))), forest)
    'rbf 75%, linear 25%'
    """
    return ', '.join(f'{forest.tree(index).label} {share:.0%}' for index, share in plan.trees)
