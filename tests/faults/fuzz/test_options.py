"""Options of anything: a search that can run, or an error that says which argument is wrong."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from shadho import ComputeClass, Hardware, Search, Shadho, ShadhoError, spaces
from shadho.backends import Simulated
from shadho.samplers import Sampler
from shadho.storage.memory import Memory
from shadho_local import Local
from shadho_workqueue import WorkQueue

SPACE = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'y': [1, 2, 3]}}


class Odd:
    def __repr__(self) -> str:
        return 'Odd()'


VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, -1, 2**31, 2**70, 10**400, 0.0, 0.5, 1.0, 2.5, -0.5, 1e308, math.nan, math.inf, -math.inf, Fraction(1, 2), np.int64(2),
    np.float64(0.5), np.array(1), np.array([1, 2]), np.nan, 1j, '', ' ', 'x', 'auto', 'tpe', 'random', 'market', 'inline', 'minimize', 'loss', '\ud800', '\0', '/', '..',
    'a/b', 'x.db', 'x.xyz', b'x', [], [1], ['x'], (), (1, 2), {}, {1, 2}, {'cores': 1}, {'cores': 0}, {'cores': 'x'}, {'gpus': -1}, {'memory': math.inf}, {'x': 1}, {1: 1},
    {'first': 3}, {'first': 0}, {'seed': 1}, {'particles': 2.5}, {'population': 'x'}, {'fairness': 2}, {'heuristics': {'promise': math.nan}}, {'heuristics': {'x': 1}},
    {'heuristics': 5}, {'floor': -1}, Odd(), Odd, len, lambda *_: 1.0, object, int, Path('x.db'), Path(), Memory, Sampler, range(3), iter([1]), Hardware(), ComputeClass(), [ComputeClass()],
    [ComputeClass(), ComputeClass()], [(1.0, 'default', 2)], [(math.nan, 'x', -1)], {'default-0': 2.0}, {'default-0': math.nan}, (9000, 1), (1, 2, 3), 'host:x', 'host:99999', 'a b',
]  # fmt: skip
values = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=5)

DRIVER = [
    'exp_key', 'objective', 'space', 'method', 'timeout', 'max_tasks', 'seed', 'backend', 'storage', 'policy', 'resources', 'trials_per_tree', 'trial_timeout', 'max_retries',
    'direction', 'loss_key', 'resume', 'grid_points', 'repeats', 'warm_start', 'durability', 'display', 'echo', 'plugins', 'options', 'policy_options',
]  # fmt: skip
METHODS = ['tpe', 'random', 'grid', 'sobol', 'gp', 'pso', 'cmaes', 'auto']


def refused(make: Callable[[], Any]) -> Any:
    """Return what was made; None when it was refused with a reason that somebody can read."""
    try:
        return make()
    except ShadhoError as error:
        assert len(str(error)) > 20
        return None


def test_a_search_of_any_options_runs_or_is_refused(fuzz: Any) -> None:
    def tried(given: dict[str, Any], method: str) -> None:
        whole = {
            'exp_key': 'fuzz',
            'objective': lambda params: 1.0,
            'space': SPACE,
            'method': method,
            'max_tasks': 2,
            'seed': 0,
            'backend': 'inline',
            'storage': None,
            'display': False,
            **given,
        }
        opt = refused(lambda: Shadho(**whole))
        if opt is None or given.keys() & {'objective', 'space', 'backend', 'display'}:
            return
        if not (opt.max_tasks or 99) < 5 and not (opt.timeout or 99) < 1:
            return  # it would take its time
        with contextlib.suppress(ShadhoError):
            assert len(opt.run()) <= 4

    fuzz(
        tried,
        400,
        given=st.dictionaries(st.sampled_from(DRIVER), values, min_size=1, max_size=3),
        method=st.sampled_from(METHODS),
    )


NAMES = [
    'first',
    'particles',
    'population',
    'grid_points',
    'repeats',
    'seed',
    'forest',
    'fairness',
    'floor',
    'heuristics',
    'sampler',
    'x',
    '',
]


def test_options_of_methods_and_policies_are_used_or_refused(fuzz: Any) -> None:
    def tried(method: str, policy: str, options: Any, policy_options: Any) -> None:
        search = refused(
            lambda: Search(SPACE, method, policy=policy, seed=0, options=options, policy_options=policy_options)
        )
        for _ in range(3 if search is not None else 0):
            trial = refused(search.ask)
            if trial is not None:
                search.tell(trial, 1.0)

    dicts = st.dictionaries(st.sampled_from(NAMES), values, max_size=2) | values
    fuzz(
        tried,
        400,
        method=st.sampled_from(METHODS),
        policy=st.sampled_from(['market', 'ranked', 'fcfs']),
        options=dicts | st.none(),
        policy_options=dicts | st.none(),
    )


MAKERS: list[tuple[Callable[..., Any], list[str], dict[str, Any]]] = [
    (ComputeClass, ['name', 'slots', 'hardware', 'resources'], {}),
    (Local, ['workers', 'classes', 'pin'], {}),
    (WorkQueue, ['port', 'password_file', 'host', 'catalog', 'keep_workers', 'debug_log'], {}),
    (Simulated, ['classes', 'seconds', 'overhead', 'memory', 'failures', 'changes', 'slowdown', 'seed'], {'classes': [ComputeClass()], 'seconds': lambda *_: 1.0}),
]  # fmt: skip


def test_options_of_backends_and_classes_are_used_or_refused(fuzz: Any) -> None:
    def tried(maker: Any, data: Any) -> None:
        make, names, good = maker
        given = data.draw(st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=2))
        made = refused(lambda: make(**{**good, **given}))
        if isinstance(made, Simulated):
            opt = Shadho(
                'fuzz',
                lambda params: 1.0,
                SPACE,
                'random',
                max_tasks=2,
                timeout=30,
                seed=0,
                backend=made,
                storage=None,
                display=False,
            )
            try:
                refused(opt.run)
            except TypeError:  # what a function of the user raises is passed on as it is
                assert any(map(callable, given.values()))

    fuzz(tried, 400, maker=st.sampled_from(MAKERS), data=st.data())


def test_classes_that_a_search_declares_are_used_or_refused(fuzz: Any) -> None:
    def tried(arguments: tuple[Any, ...]) -> None:
        opt = Shadho(
            'fuzz',
            lambda params: 1.0,
            SPACE,
            'random',
            max_tasks=2,
            seed=0,
            backend='inline',
            storage=None,
            display=False,
        )
        refused(lambda: opt.add_compute_class(*arguments))

    fuzz(
        tried,
        150,
        arguments=st.tuples(
            values, st.sampled_from(['cores', 'memory', 'gpus', 'gpu_model', 'rack']) | values, values, values
        ),
    )


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_a_search_of_an_estimator_takes_any_options_or_refuses_them(fuzz: Any) -> None:
    from sklearn.naive_bayes import GaussianNB

    from shadho.sklearn import ShadhoSearchCV

    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    names = [
        'space',
        'method',
        'n_trials',
        'timeout',
        'backend',
        'halving',
        'policy',
        'resources',
        'storage',
        'exp_key',
        'random_state',
        'search_options',
    ]

    def tried(given: dict[str, Any]) -> None:
        whole = {
            'space': {'var_smoothing': spaces.log10_uniform(-9, -3)},
            'n_trials': 1,
            'backend': 'inline',
            'cv': 2,
            'random_state': 0,
            **given,
        }
        if given.keys() & {'n_trials', 'timeout'} and not (
            isinstance(whole['n_trials'], int) and whole['n_trials'] < 3
        ):
            whole['search_options'] = {'trial_timeout': 'x'}  # it is to be refused, or would take its time
        try:
            ShadhoSearchCV(GaussianNB(), **whole).fit(X, y)
        except (ShadhoError, ValueError, TypeError) as error:  # of scikit-learn, which checks its own parameters
            assert (
                isinstance(error, ValueError) or 'shadho' not in traceback.extract_tb(error.__traceback__)[-1].filename
            )

    fuzz(tried, 60, given=st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=2))
