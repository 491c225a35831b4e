"""What the market would do with a cluster, from what a recorded search knows of its trees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError, StorageError
from shadho.forest import Forest
from shadho.goal import Goal
from shadho.ledger import Ledger
from shadho.records import ComputeClass, Trial
from shadho.report.recorded import columns
from shadho.resume import identity_of
from shadho.scheduling import PolicyContext
from shadho.scheduling.market import Forecast, Market
from shadho.search import check_tree
from shadho.spaces import spec
from shadho.storage import Storage, replay
from shadho.words import counted, format_price, printable

__all__ = ['ClusterPlan', 'parse_cluster', 'plan_cluster']

_HOUR = 3600.0


@attrs.frozen(eq=False)
class ClusterPlan:
    """What to expect of a recorded search on some cluster.

    Attributes
    ----------
    exp_key : str
    trials : int
        Finished trials that are known of.
    classes : list of ComputeClass
    unseen : list of str
        Classes in which no trial ever ran: they are taken to be as fast as the average of the others.
    trees : list of str
        Labels of the trees that were considered.
    trials_per_hour : array, shape (trees, classes)
    seconds : array, shape (trees, classes)
        Of one trial; inf where it does not fit.
    prices : array, shape (classes,)
        By which share the search becomes faster with one more slot.
    one_more : array, shape (classes,)
        Trials per hour, all trees together, that one more slot would bring.
    """

    exp_key: str
    trials: int
    classes: list[ComputeClass]
    unseen: list[str]
    trees: list[str]
    trials_per_hour: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    prices: npt.NDArray[np.float64]
    one_more: npt.NDArray[np.float64]

    @property
    def bottleneck(self) -> str:
        """The class of which one more slot helps most."""
        return self.classes[int(np.argmax(self.prices))].name

    def to_dict(self) -> dict[str, Any]:
        """Return all as plain data, for JSON; seconds are null where a trial does not fit."""
        names = [own.name for own in self.classes]
        return {
            'exp_key': self.exp_key,
            'trials': self.trials,
            'bottleneck': self.bottleneck,
            'trials_per_hour': float(self.trials_per_hour.sum()),
            'classes': [
                {
                    'name': own.name,
                    'slots': own.slots,
                    'price': float(self.prices[column]),
                    'trials_per_hour': float(self.trials_per_hour[:, column].sum()),
                    'trials_per_hour_of_one_more': float(self.one_more[column]),
                    'seen': own.name not in self.unseen,
                }
                for column, own in enumerate(self.classes)
            ],
            'trees': [
                {
                    'label': label,
                    'trials_per_hour': dict(zip(names, self.trials_per_hour[row].tolist())),
                    'seconds': {
                        name: value if np.isfinite(value) else None
                        for name, value in zip(names, self.seconds[row].tolist())
                    },
                }
                for row, label in enumerate(self.trees)
            ],
        }

    def to_table(self, limit: int = 20) -> str:
        """Return a text for people; of many trees, those with the most trials."""
        names = [own.name for own in self.classes]
        counts = np.column_stack([self.trials_per_hour.sum(axis=1), self.trials_per_hour])
        order = np.argsort(-counts[:, 0], kind='stable')
        numbers = [(self.trees[row], counts[row]) for row in order[:limit]]
        if len(order) > limit:
            numbers.append((counted(len(order) - limit, 'more tree'), counts[order[limit:]].sum(axis=0)))
        numbers.append(('all', counts.sum(axis=0)))
        rows = [[label, *(_number(value, counts[:, 0].sum()) for value in values)] for label, values in numbers]
        lines = [
            f'{self.exp_key}: forecast from {counted(self.trials, "trial")}, for '
            + ', '.join(f'{own.slots} x {own.name}' for own in self.classes),
            '',
            *columns(['trials per hour', 'all', *names], rows),
            '',
        ]
        prices = [
            [own.name, str(own.slots), format_price(price), f'{more:+.3g}']
            for own, price, more in zip(self.classes, self.prices, self.one_more)
        ]
        lines += columns(['compute class', 'slots', 'one more slot speeds the search up by', 'trials per hour'], prices)
        lines.append(f'bottleneck: {self.bottleneck}')
        lines += [
            f'note: no trial ever ran in {name}, which is taken to be as fast as the others on average'
            for name in self.unseen
        ]
        return '\n'.join(lines)


def parse_cluster(text: str) -> list[ComputeClass]:
    """Read a description of a cluster such as ``16-core=20,8-core=25``: names of classes and their slots.

    Raises
    ------
    ConfigurationError
        When the text is no such description.
    """
    classes: list[ComputeClass] = []
    for part in re.split(r'(?<=\d)\s*,', text):  # a name may hold a comma
        name, equals, number = part.strip().rpartition('=')
        number = number.strip()
        if not (name and equals and number.isdecimal() and len(number) < 7 and int(number)):
            raise ConfigurationError(
                'a cluster is described as name=slots,name=slots, with fewer than a million slots each, as in '
                f'16-core=20,8-core=25; got {part.strip()[:80]!r}'
            )
        classes.append(ComputeClass(name.strip(), int(number)))
    if len({own.name for own in classes}) < len(classes):
        raise ConfigurationError(f'the cluster {text!r} names a class twice; add its slots up')
    return classes


def plan_cluster(storage: Storage, classes: Sequence[ComputeClass], **options: Any) -> ClusterPlan:
    """Say what the market would do with a cluster, knowing what a search has recorded.

    Parameters
    ----------
    storage : Storage
        Of the recorded search, which may be running.
    classes : sequence of ComputeClass
        The cluster; classes are known by their names.
    **options
        Of the policy 'market', such as ``fairness=1.0``.

    Raises
    ------
    StorageError
        When nothing is recorded.
    """
    known = identity_of(storage)
    forest = Forest(spec.from_outline(known['outline']))
    ledger = Ledger(Goal(direction=known['direction']))
    market = Market(PolicyContext(forest, ledger, known['seed']), **options)
    with closing(replay(storage, ledger)) as log:
        for _, event, trial in log:
            if isinstance(event, Trial):
                check_tree(forest, event.id, event.tree, len(event.point))
            market.learn(event, trial)
    history = ledger.history
    if not len(history):
        raise StorageError(f'{storage} has no finished trial yet; there is nothing to plan from')
    forecast = market.forecast(classes, ledger.time)
    return ClusterPlan(
        exp_key=printable(known['exp_key']),
        trials=len(history),
        classes=list(classes),
        unseen=[own.name for own in classes if own.name not in history.classes],
        trees=[printable(tree.label) for tree in forecast.trees],
        trials_per_hour=_HOUR * forecast.rates,
        seconds=forecast.seconds,
        prices=forecast.prices,
        one_more=_HOUR
        * np.array([_gain(market, forecast, classes, column, ledger.time) for column in range(len(classes))]),
    )


def _gain(market: Market, forecast: Forecast, classes: Sequence[ComputeClass], column: int, now: float) -> float:
    """Return how many trials per second one more slot of a class brings, from a few more of them."""
    few = max(1, classes[column].slots // 20)
    more = [attrs.evolve(own, slots=own.slots + few * (place == column)) for place, own in enumerate(classes)]
    return float(market.forecast(more, now).rates.sum() - forecast.rates.sum()) / few


def _number(value: float, total: float) -> str:
    """Write a number for people; next to nothing of the whole is a dash."""
    if value < 0.001 * total:
        return '-'
    return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
