"""What a search tells of itself: at its beginning to observers, at its end to whoever ran it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from shadho.errors import StorageError
from shadho.forest import Forest
from shadho.history import History
from shadho.recommend import recommended
from shadho.records import ComputeClass, Result, Trial, TrialError, TrialState
from shadho.scheduling import ClassPlan
from shadho.storage import LogIndex, Storage, consistent

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    'ClassUse',
    'SearchInfo',
    'SearchResult',
    'column',
    'finished_trials',
    'format_best',
    'format_counts',
    'format_params',
    'format_price',
    'format_recommended',
    'format_request',
    'format_seconds',
    'format_shares',
    'printable',
    'read_finished',
    'reason_of',
    'shorten',
    'text_of',
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
        Trials that earlier runs finished, failed ones included.
    failed : int
        How many of them failed.
    best : Trial or None
        The best of these.
    forest : Forest
    now : callable
        Seconds of active search, as the times of trials.
    trials_per_tree : int or None
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
    slot_seconds, busy_seconds : float
        How long its slots were there, and how long of that they had a trial, all slots together.
    plan : ClassPlan or None
        What the policy intended with it last.
    """

    compute_class: ComputeClass
    slot_seconds: float = 0.0
    busy_seconds: float = 0.0
    plan: ClassPlan | None = None

    def add(self, seconds: float, busy: int) -> None:
        """Note that so many slots were busy for a while."""
        slots = self.compute_class.slots
        self.slot_seconds += seconds * slots
        self.busy_seconds += seconds * min(busy, slots)

    @property
    def utilisation(self) -> float:
        """The share of the slots' time in which they had a trial, from 0 to 1."""
        return self.busy_seconds / self.slot_seconds if self.slot_seconds > 0 else 0.0


_REASONS = {'finished': 'nothing is left to try'}
"""Reasons to stop that need words."""


class SearchResult:
    """Finished trials of a search, those of earlier runs included.

    Iterating yields every trial that is done or has failed, in the order of completion, read from
    the storage; `len` counts them.

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
    history : History
    direction : str
    seed : int
    classes : list of ClassUse
        How the compute classes were used in the run that ended.
    """

    def __init__(
        self, exp_key: str, leaders: Sequence[Trial], stopped: str, elapsed: float, storage: Storage, forest: Forest,
        history: History, direction: str, seed: int, classes: Sequence[ClassUse] = (),
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
        self._count = len(history)

    @property
    def best(self) -> Trial | None:
        """The best trial; None when no trial is done."""
        return self._leaders[0].copied() if self._leaders else None

    @property
    def leaders(self) -> list[Trial]:
        """The best trials, at most 30, the best one first."""
        return [trial.copied() for trial in self._leaders]

    @property
    def recommended(self) -> Trial | None:
        """The trial to rely on where losses are noisy, and the best one is the luckiest.

        That is the one of `leaders` whose expected loss is least, by a Gaussian process of all trials, whatever method
        suggested them. It is the best one where there is no model: of fewer than 10 trials, or in a space of more than
        300 leaves.
        """
        return None if self._recommended is None else self._recommended.copied()

    @cached_property
    def _recommended(self) -> Trial | None:
        return recommended(self.forest, self.history, self._leaders)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Trial]:
        return map(self._decoded, finished_trials(self.storage))

    @cached_property
    def index(self) -> LogIndex:
        """What the storage holds apart from parameters and results, to choose trials by."""
        return self.storage.index()

    def trials(self, rows: Sequence[int]) -> list[Trial]:
        """Return those finished trials that stand in some rows of `index`; no others are read."""
        return [self._decoded(trial) for trial in read_finished(self.storage, self.index, rows)]

    def _decoded(self, trial: Trial) -> Trial:
        if self.forest.keeps_values or trial.params is None:
            return trial
        # The storage has only their repr.
        return attrs.evolve(trial, params=self.forest.tree(trial.tree).decode(trial.point))

    def __repr__(self) -> str:
        best = 'no trial is done' if self.best is None else f'best loss {self.best.loss:.6g}'
        return f'<SearchResult of {self.exp_key!r}: {len(self)} trials, {best}>'

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
        row.update(_flat('params', trial.params))
        if trial.results:
            row.update(_flat('results', trial.results))
        return {name: text_of(value) if isinstance(value, str) else value for name, value in row.items()}

    def summary(self) -> str:
        """Describe the search for people: counts, the best trial, each tree and why trials failed."""
        states = self.history.states
        lines = [
            f'{self.exp_key}: {len(self)} trial{"s" if len(self) != 1 else ""} in {format_seconds(self.elapsed)} '
            f'({states[TrialState.DONE]} done, {states[TrialState.FAILED]} failed), stopped: {_REASONS.get(self.stopped, self.stopped)}'
        ]
        if self.best is not None:
            label = self.forest.tree(self.best.tree).label
            lines.append(f'best loss {self.best.loss:.6g}, trial {self.best.id} ({label})')
            lines += [f'    {name} = {value}' for name, value in format_params(self.best.params)]
            if (hint := format_recommended(self)) is not None:
                lines.append(hint)
        lines += self._trees()
        lines += self._classes()
        if states[TrialState.FAILED]:
            lines += ['failures:', *self._failures()]
        return '\n'.join(map(printable, lines))

    def _trees(self, limit: int = 20) -> list[str]:
        rows = []
        for index in self.history.trees:
            losses = self.history.losses(index)
            done = losses[~np.isnan(losses)]
            best = float(done.min()) if len(done) else np.inf
            rows.append((best, self.forest.tree(index).label, len(losses), len(done), self.history.seconds(index)))
        rows.sort(key=lambda row: row[0])
        width = max([len(row[1]) for row in rows[:limit]], default=4)
        sign = -1 if self.direction == 'maximize' else 1
        lines = [f'{"tree":<{width}}  trials  failed   best loss   mean seconds']
        for best, label, count, done_count, seconds in rows[:limit]:
            text = f'{sign * best:>10.5g}' if np.isfinite(best) else f'{"-":>10}'
            lines.append(f'{label:<{width}}  {count:>6}  {count - done_count:>6}  {text}   {seconds.mean():>12.3g}')
        if len(rows) > limit:
            lines.append(f'... and {len(rows) - limit} more trees')
        return lines

    def _classes(self, limit: int = 20) -> list[str]:
        """Describe each class: how busy it was, what one more slot is worth, and its trees."""
        if not self.classes:
            return []
        numbers = {name: number for number, name in enumerate(self.history.classes)}
        counts = Counter(self.history.compute_classes().tolist())
        shown = self.classes[:limit]
        width = max(len('compute class'), *(len(use.compute_class.name) for use in shown))
        asked = max(len('each asks for'), *(len(format_request(use.compute_class)) for use in shown))
        lines = [
            f'{"compute class":<{width}}  slots  busy  trials  +1 slot  {"each asks for":<{asked}}  trees by their time'.rstrip()
        ]
        for use in shown:
            own, plan = use.compute_class, use.plan
            price = f'{format_price(plan.price):>7}' if plan is not None and plan.price > 0 else f'{"-":>7}'
            trees = format_shares(plan, self.forest) if plan is not None else '-'
            trials = counts[numbers.get(own.name, -1)]
            lines.append(
                f'{own.name:<{width}}  {own.slots:>5}  {use.utilisation:>4.0%}  {trials:>6}  {price}  '
                f'{format_request(own):<{asked}}  {trees}'
            )
        if len(self.classes) > limit:
            lines.append(f'... and {len(self.classes) - limit} more classes')
        return lines

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
        return lines + ([f'    ... and {more} more reasons'] if more > 0 else [])


def finished_trials(storage: Storage) -> Iterator[Trial]:
    """Yield finished trials from a log, in the order of completion; also while it is written."""
    running: dict[int, Trial] = {}
    for record in consistent(storage):
        if isinstance(record, Trial):
            running[record.id] = record
        elif isinstance(record, Result) and record.state in (TrialState.DONE, TrialState.FAILED):
            trial = running.pop(record.trial, None)
            if trial is not None:
                yield trial.with_result(record)


def read_finished(storage: Storage, index: LogIndex, rows: Sequence[int]) -> list[Trial]:
    """Return the finished trials of some rows of a storage's index."""
    places = [(index.trials[row], index.results[row]) for row in rows]
    found = storage.at([position for pair in places for position in pair])
    return [found[asked].with_result(found[came]) for asked, came in places]  # type: ignore[union-attr,arg-type]


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


def format_recommended(result: SearchResult) -> str | None:
    """Say which trial is recommended where losses are noisy; None when it is the best one."""
    found = result.recommended
    if found is None or result.best is None or found.id == result.best.id:
        return None
    return f'recommended where losses are noisy: trial {found.id} (loss {found.loss:.6g}), whose expected loss is least'


def format_counts(finished: int, failed: int, running: int, limit: int | None = None) -> str:
    """Say how many trials are finished, how many of these failed, and how many are running.

    Examples
    --------
    >>> format_counts(1500, 2, 4, limit=2000)
    '1,500/2,000 trials, 2 failed, 4 running'
    """
    of = f'/{limit:,}' if limit is not None else ''
    return f'{finished:,}{of} trials, {failed:,} failed, {running:,} running'


def format_best(best: Trial | None, limit: int = 200) -> str:
    """Say which trial is best, with its parameters in at most `limit` characters."""
    if best is None:
        return 'no trial is done yet'
    params = shorten(', '.join(f'{name}={value}' for name, value in format_params(best.params)), limit)
    return printable(f'best loss {best.loss:.6g} (trial {best.id}: {params})')


def printable(text: object) -> str:
    r"""Replace what could steer a terminal, line breaks included: names, hosts and messages may be anybody's.

    Examples
    --------
    >>> printable('\x1b[2Jnode 7')
    '?[2Jnode 7'
    """
    return ''.join(letter if letter.isprintable() else '?' for letter in str(text))


def shorten(text: str, limit: int) -> str:
    """Cut a text that is longer than `limit` characters.

    Examples
    --------
    >>> shorten('gradient', 5)
    'grad…'
    """
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + '…'


def format_params(params: Any) -> list[tuple[str, str]]:
    """Return (path, value) texts of nested parameters."""
    return [
        (name, f'{value:.6g}' if isinstance(value, float) else text_of(value))
        for name, value in _flat('', params).items()
    ]


def format_request(compute_class: ComputeClass) -> str:
    """Write what a trial asks of a slot of a class.

    Examples
    --------
    >>> format_request(ComputeClass(resources={'cores': 1, 'memory': 4096, 'gpus': 2}))
    '1 core, 4 GiB, 2 GPUs'
    """
    asked = compute_class.resources
    cores = asked.get('cores', 1)
    parts = [f'{cores} core{"s" if cores != 1 else ""}']
    if asked.get('memory'):
        parts.append(f'{asked["memory"] / 1024:.3g} GiB')
    if asked.get('gpus'):
        parts.append(f'{asked["gpus"]} GPU{"s" if asked["gpus"] != 1 else ""}')
    return ', '.join(parts)


def format_price(price: float) -> str:
    """Write by which share a search becomes faster with one more slot.

    Examples
    --------
    >>> format_price(0.5), format_price(0.0213), format_price(0.0000471)
    ('+50.0%', '+2.1%', '+0.0047%')
    """
    return f'{price:+.1%}' if abs(price) >= 0.01 or price == 0 else f'{100 * price:+.2g}%'


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


def format_seconds(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> format_seconds(3.25), format_seconds(75), format_seconds(7384)
    ('3.2 s', '1 min 15 s', '2 h 03 min')
    """
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest:02d} s'
    return f'{minutes // 60} h {minutes % 60:02d} min'


def column(path: Iterable[Any]) -> str:
    """Name a column of a table after the place of its values; different places have different names.

    Examples
    --------
    >>> column(('params', 'layers', 0, 'width'))
    'params.layers[0].width'
    >>> column(('results', 'f1', 'macro')), column(('results', 'f1.macro'))
    ('results.f1.macro', "results['f1.macro']")
    """
    return ''.join(map(_step, path)).removeprefix('.')


def _step(key: Any) -> str:
    is_plain = isinstance(key, str) and key and not any(letter in '.[]' for letter in key)
    return f'.{key}' if is_plain else f'[{key!r}]'


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        items = list(value.items())
    elif isinstance(value, (list, tuple)) and value:
        items = list(enumerate(value))
    else:
        return {prefix.removeprefix('.') or 'value': value}
    return {name: leaf for key, item in items for name, leaf in _flat(prefix + _step(key), item).items()}


def text_of(value: Any) -> str:
    """Return a text that any file can hold, for any value: a dependent one may be an object that has none."""
    try:
        return str(value).encode(errors='backslashreplace').decode()
    except Exception as error:
        return f'({type(value).__name__}: it cannot be shown, because of {type(error).__name__})'
