"""What users write to search, as type checkers see it: this file is checked, and run by no test."""

# What a callback takes depends on how many parts it is given, which types cannot say.
# pyright: strict, reportUnknownLambdaType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import shadho
from shadho import ComputeClass, Forest, Search, SearchResult, Shadho, ShadhoError, Trial, TrialState, spaces
from shadho.backends import Simulated
from shadho.background import BackgroundRun
from shadho.result import ClassUse
from shadho.spaces.domains import Choice, Discrete, Distribution, IntegerRange, LogIntegerRange, Normal, Uniform
from shadho.spaces.structure import Dependent, Repeat, Scope, Sequence

# --- spaces ----------------------------------------------------------------------------------------

C = spaces.log10_uniform(-3, 3)
assert_type(C, Uniform)
assert_type(spaces.loguniform(1e-3, 1), Uniform)
assert_type(spaces.normal(0, 1), Normal)
assert_type(spaces.randint(1, 10), IntegerRange)
assert_type(spaces.log2_randint(4, 10), LogIntegerRange)
assert_type(spaces.choice(['a', 'b']), Choice)
assert_type(spaces.grid([1, 2, 3]), Discrete)
assert_type(spaces.repeat({'width': spaces.randint(8, 64)}, 3), Repeat)
assert_type(spaces.sequential([C, C]), Sequence)
assert_type(spaces.dependent(C, callback=lambda value: 2 * value), Dependent)
assert_type(spaces.dependent((C, C), lambda one, other: one + other), Dependent)
assert_type(spaces.describe({'C': C}), str)

layer = spaces.scope(kernel=spaces.randint(1, 10, 2))
layer.padding = spaces.dependent(layer.kernel, callback=lambda size: size // 2)
layer['stride'] = [1, 2]
assert_type(layer, Scope)


def frozen(distribution: Any) -> Distribution:
    return spaces.distribution(distribution)


space = {
    'exclusive': True,
    'linear': {'C': C},
    'rbf': {'C': C, 'gamma': spaces.log10_uniform(-5, 1), 'shrinking': [True, False]},
    'layers': spaces.repeat(layer, 3),
}

# --- the driver ------------------------------------------------------------------------------------


def loss(params: dict[str, float]) -> float:
    return params['x'] ** 2


def details(params: Mapping[str, Any]) -> dict[str, object]:
    return {'loss': params['x'] ** 2, 'note': 'fine'}


class Evaluation:
    """An objective may be any callable."""

    def __call__(self, params: Any) -> float:
        return float(params)


def search_and_read() -> None:
    opt = Shadho('typed', loss, space, max_tasks=100, seed=1)
    opt.add_compute_class('large', 'cores', 16, max_tasks=2)
    result = opt.run()
    assert_type(result, SearchResult)
    behind = opt.run(background=True)
    assert_type(behind, BackgroundRun)
    assert_type(behind.best, Trial | None)
    assert_type(behind.wait(timeout=1.0), SearchResult)
    assert_type(result.best, Trial | None)
    assert_type(len(result), int)
    assert_type(result.stopped, str)
    assert_type(result.summary(), str)
    assert_type(result.forest, Forest)
    assert_type(result.classes, list[ClassUse])
    if result.best is not None:
        assert_type(result.best.params, Any)
        assert_type(result.best.loss, float | None)
        print(result.best.params['rbf']['gamma'], result.best.results['loss'])
    for trial in result:
        assert_type(trial, Trial)
        if trial.state is TrialState.FAILED and trial.error is not None:
            assert_type(trial.error.message, str)
    assert_type(shadho.load_result('typed.db'), SearchResult)
    assert_type(shadho.load_result(Path('typed.db')), SearchResult)


def all_that_can_be_given() -> None:
    command = Shadho('typed', 'bash evaluate.sh', {'x': C}, timeout=60.0, storage=None)
    command.add_input_file('data.npz')
    command.add_output_file(Path('model.bin'))
    Shadho(
        'typed', details, space, 'sobol', 3600, 10, None, Simulated([ComputeClass('16-core', 4, {'cores': 16})], lambda trial, worker: 1.0),
        Path('typed.db'), policy='fcfs', resources={'cores': 2, 'memory': 4096}, trials_per_tree=10, direction='maximize',
        loss_key='score', policy_options={'fairness': 1.0}, options={'n_startup': 5}, plugins=[object()], display=False,
    )  # fmt: skip
    Shadho('typed', Evaluation(), C, max_tasks=1)
    Shadho('typed', lambda params: params['x'], {'x': C}, max_tasks=1)


# --- ask and tell ----------------------------------------------------------------------------------


def ask_and_tell() -> float:
    search = Search({'x': C}, 'tpe', seed=0, direction='minimize')
    search.plan([ComputeClass('default', 4)], now=0.0)
    while (trial := search.ask()) is not None:
        assert_type(trial, Trial)
        finished = search.tell(trial, trial.params['x'] ** 2, seconds=0.1)
        assert_type(finished, Trial)
        search.tell(3, {'loss': 1.0, 'accuracy': 0.5})
    search.add({'x': 0.1}, loss=None)
    assert_type(search.best, Trial | None)
    if search.best is None or search.best.loss is None:
        raise ShadhoError('nothing was done')
    return search.best.loss
