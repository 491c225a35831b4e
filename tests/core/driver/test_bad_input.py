"""Bad input to a search, its classes and its trials: refused before anything runs, with the cause and the fix."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shadho import ComputeClass, Hardware, Search, Shadho, ShadhoError, hookimpl, spaces
from shadho.backends.inline import Inline
from shadho.errors import ConfigurationError, PluginError
from shadho.samplers import Sampler
from shadho.samplers.random import Random
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite

X = {'x': spaces.uniform(-1, 1)}


class Observer:
    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        """See a trial."""


class Unmarked:
    def shadho_trial_finished(self, trial: Any) -> None:
        """See no trial, as the mark is missing."""


class Nameless(Sampler):
    def ask(self, tree: Any) -> None:
        """Suggest nothing."""


def search(objective: Any = abs, **options: Any) -> Shadho:
    defaults = {'backend': 'inline', 'storage': None, 'max_tasks': 3, 'seed': 0, 'display': False}
    return Shadho(options.pop('exp_key', 'test'), objective, X, **{**defaults, **options})


@pytest.mark.parametrize(
    ('argument', 'value', 'message'),
    [
        ('storage', ['a.db'], r"storage must be a path such as 'search.db'.*got \['a.db'\] \(list\)"),
        ('storage', 5, r'storage must be a path.*got 5 \(int\)'),
        ('storage', b'a.db', r"storage must be a path.*got b'a.db' \(bytes\)"),
        ('storage', SQLite, r'storage=SQLite is a class; did you mean SQLite\(\.\.\.\)\?'),
        ('method', None, 'method must be a name or a Sampler class; got None .*leave method out for the default'),
        ('method', 5, r'method must be a name or a Sampler class; got 5 \(int'),
        ('method', int, "got <class 'int'> .a class that is not a Sampler"),
        ('method', Sampler, 'a class that is not a Sampler, or lacks one of its methods'),
        ('method', Nameless, 'derive it from Sampler, and give it a name'),
        ('method', len, 'method must be a name or a Sampler class; got <built-in function len>'),
        ('method', lambda params: 0.0, 'method must be a name or a Sampler class; got <function'),
        ('policy', None, 'policy must be a name or a Policy class; got None .*leave policy out for the default'),
        ('policy', len, 'policy must be a name or a Policy class; got <built-in function len>'),
        ('policy', 5, r'policy must be a name or a Policy class; got 5 \(int'),
        ('policy', Random, 'a class that is not a Policy'),
        ('backend', None, r"backend must be 'auto', the name of a backend or a Backend, .*got None \(NoneType\)"),
        ('backend', 5, r'backend must be .*got 5 \(int\)'),
        ('backend', Inline, r'backend=Inline is a class; did you mean Inline\(\)\?'),
        ('grid_points', '3', r"grid_points must be an integer of 1 or more, or None; got '3' \(str\)"),
        ('grid_points', 2.5, r'grid_points must be an integer.*got 2.5 \(float\)'),
        ('grid_points', True, r'grid_points must be an integer.*got True \(bool\)'),
        ('options', [1], r'options must be a dict of options by name.*got \[1\] \(list\)'),
        ('options', [], r'options must be a dict'),
        ('options', {'seed': 1}, "method='auto' has no option 'seed'; its options: first"),
        ('options', {1: 2}, "method='auto' has no option 1"),
        ('resources', ['cores'], r"resources must be a dict .*\{'cores': 2\}; got \['cores'\] \(list\)"),
        ('resources', 4, r'resources must be a dict .*got 4 \(int\)'),
        ('resources', {'cores': 1.5}, 'resources: cores must be an integer of 1 or more; got 1.5'),
        ('plugins', 5, r'plugins must be a list of modules or objects with hooks; got 5 \(int\)'),
        ('plugins', None, 'plugins must be a list of modules or objects with hooks; got None'),
        ('plugins', 'abc', r"got 'abc' \(str\)"),
        ('durability', np.array([1, 2]), r"durability must be 'normal' or 'full'; got array\(\[1, 2\]\)"),
        ('plugins', np.array(1), r'got array\(1\) \(ndarray\)'),
        ('plugins', Observer, r'got .*Observer.* Put a single plugin in brackets too'),
        ('plugins', Observer(), r'got .*Observer.* Put a single plugin in brackets too'),
        ('exp_key', 'k' * 300, 'exp_key is 300 bytes long .*at most 200'),
        ('exp_key', '\u20ac' * 100, 'exp_key is 300 bytes long'),
        ('loss_key', 5, "loss_key must be the key of the loss in the objective's results, such as 'loss'; got 5"),
        ('loss_key', None, 'loss_key must be .*got None'),
        ('loss_key', '', "loss_key must be .*got ''"),
        ('resume', 'no', r"resume must be True or False; got 'no' \(str\)"),
        ('resume', None, r'resume must be True or False; got None'),
        ('echo', 'x', r"echo must be True, None or False; got 'x' \(str\)"),
        ('display', 'x', r"display must be True, None or False; got 'x' \(str\)"),
        ('durability', 'x', "durability must be 'normal' or 'full'; got 'x'"),
        ('max_tasks', 2.0, 'max_tasks must be an integer of 1 or more, or None; got 2.0'),
        ('max_tasks', np.float64(2), 'max_tasks must be an integer of 1 or more'),
        ('max_retries', True, 'max_retries must be an integer of 0 or more, or None; got True'),
        ('timeout', '3', "timeout must be a number of seconds greater than 0, or None; got '3'"),
        ('timeout', np.nan, 'timeout must be a number of seconds'),
        ('trial_timeout', True, 'trial_timeout must be a number of seconds greater than 0, or None; got True'),
        ('repeats', 1.5, 'repeats must be an integer of 1 or more; got 1.5'),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(argument: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        search(**{argument: value})
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize('storage', [None, 'auto', Memory()])
def test_the_durability_is_checked_whatever_the_storage(storage: Any) -> None:
    with pytest.raises(ConfigurationError, match="durability must be 'normal' or 'full'; got 'x'"):
        search(storage=storage, durability='x')


@pytest.mark.parametrize(
    ('plugin', 'message'),
    [
        ('abc', "the plugin 'abc' is a name, but a module or an object with hooks is needed"),
        (Observer, r'the plugin Observer is a class; did you mean plugins=\[Observer\(\)\]\?'),
        (5, 'the plugin int cannot be used: TypeError: it has no hooks'),
        (Unmarked(), 'the plugin Unmarked cannot be used: .*it has no hooks; .* marked with @hookimpl'),
    ],
)
def test_a_plugin_that_is_none_is_refused(plugin: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        search(plugins=[plugin])


def test_an_object_in_place_of_a_class_is_explained() -> None:
    own = Search(X, seed=0)
    with pytest.raises(ConfigurationError, match='each search creates a new one; pass the class, without parentheses'):
        search(method=own.sampler)
    with pytest.raises(ConfigurationError, match='each search creates a new one; pass the class, without parentheses'):
        search(policy=own.policy)


def test_a_name_of_the_greatest_length_can_be_run() -> None:
    search(float_of_x, exp_key='k' * 200, storage='auto').run()
    assert Path('k' * 200 + '.db').exists()


def float_of_x(params: dict[str, float]) -> float:
    return params['x']


def test_numbers_of_numpy_are_as_good_as_plain_ones() -> None:
    opt = search(
        float_of_x, max_tasks=np.int64(3), timeout=np.float32(100), max_retries=np.uint8(2), repeats=np.int64(1),
        method='grid', grid_points=np.int32(5), resources={'cores': np.int64(1)}, storage='auto',
    )  # fmt: skip
    assert (opt.max_tasks, opt.timeout, opt.max_retries, opt.resources) == (3, 100.0, 2, {'cores': 1})
    assert len(opt.run()) == 3
    limited = search(trial_timeout=np.int64(5), backend=Inline())
    assert (type(limited.trial_timeout), limited.trial_timeout) == (float, 5.0)


def test_repeats_of_numpy_count_as_plain_ones() -> None:
    own = Search({'a': spaces.grid([1, 2])}, seed=0, repeats=np.int64(2))
    assert (type(own.repeats), own.length(own.forest.tree(0))) == (int, 4)


@pytest.mark.parametrize('timeout', [math.inf, 10**400])
def test_a_timeout_beyond_all_floats_is_none(timeout: float) -> None:
    assert search(timeout=timeout).timeout is None


@pytest.mark.parametrize('method', ['add_input_file', 'add_output_file'])
@pytest.mark.parametrize('path', [5, None, b'data', ['data'], ''])
def test_a_file_needs_a_path(method: str, path: Any) -> None:
    opt = search('true')
    with pytest.raises(ConfigurationError, match=rf"{method}\(\): a path is needed, such as 'data.npz'; got "):
        getattr(opt, method)(path)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'slots': 'x'}, "slots must be an integer of 0 or more; got 'x'"),
        ({'slots': -1}, 'slots must be an integer of 0 or more; got -1'),
        ({'slots': 1.5}, 'slots must be an integer of 0 or more; got 1.5'),
        ({'hardware': {'gpus': 2**31}}, 'hardware: gpus must be at most 65,536; got 2147483648'),
        ({'slots': True}, 'slots must be an integer of 0 or more; got True'),
        ({'hardware': 5}, r'hardware must be a Hardware, or a dict such as .*got 5 \(int\)'),
        ({'hardware': {'cores': 'x'}}, "hardware: cores must be a number above 0; got 'x'"),
        ({'hardware': {'memory': -1}}, 'hardware: memory must be a number of 0 or more; got -1'),
        (
            {'hardware': {'gpus': 'V100'}},
            r"hardware: gpus must be an integer or a list of models, such as \['V100'\]; got 'V100'",
        ),
        ({'hardware': {'gpus': 1.5}}, 'hardware: gpus must be an integer or a list of models'),
        ({'hardware': {'gpus': -1}}, 'hardware: gpus must be a number of 0 or more; got -1'),
        ({'resources': 5}, r'resources must be a dict of the resources that a trial needs, .*got 5 \(int\)'),
        ({'resources': {'cores': 'x'}}, "resources: cores must be a number above 0; got 'x'"),
        ({'resources': {'cores': 0}}, 'resources: cores must be a number above 0; got 0'),
        ({'resources': {'memory': math.nan}}, 'resources: memory must be a number of 0 or more; got nan'),
        ({'resources': {'gpus': True}}, 'resources: gpus must be a number of 0 or more; got True'),
        ({'name': ''}, "name must be a non-empty str, such as 'large'; got ''"),
        ({'name': 5}, "name must be a non-empty str, such as 'large'; got 5"),
    ],
)
def test_a_compute_class_that_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=rf'ComputeClass\(\): {message}'):
        ComputeClass(**arguments)


def test_a_compute_class_keeps_plain_numbers() -> None:
    own = ComputeClass(
        'big', np.int64(2), {'cores': np.int64(4), 'gpus': np.int8(2)}, {'cores': np.int64(2), 'memory': 0.5}
    )
    assert json.dumps([own.slots, dict(own.resources)]) == '[2, {"cores": 2, "memory": 0.5}]'
    assert own.hardware == Hardware(4, gpus=('gpu', 'gpu'))


@pytest.mark.parametrize(
    ('trial', 'message'),
    [
        (None, r'got None \(ask\(\) returns None when there is nothing to suggest\)'),
        ('x', "got 'x'"),
        (1.0, 'got 1.0'),
        (True, 'got True'),
        ({'x': 0.5}, r"got \{'x': 0.5\}"),
    ],
)
def test_only_a_trial_can_be_told(trial: Any, message: str) -> None:
    own = Search(X, seed=0)
    own.ask()
    with pytest.raises(ConfigurationError, match=rf'tell\(\) needs a Trial from ask\(\), or its id; {message}'):
        own.tell(trial, 1)
    assert list(own.pending) == [0]


@pytest.mark.parametrize('number', [1, np.int64(1)])
def test_a_pending_trial_can_be_told_by_its_number(number: int) -> None:
    own = Search(X, seed=0)
    own.ask()
    trial = own.ask(now=2.0)
    told = own.tell(number, 0.5, seconds=1.0)
    assert (told.params, told.loss, told.started, told.finished) == (trial.params, 0.5, 2.0, 3.0)
    assert list(own.pending) == [0]


@pytest.mark.parametrize(
    ('number', 'message'), [(0, 'trial 0 already has a result'), (7, 'trial 7 was never returned by ask')]
)
def test_a_number_of_no_pending_trial_is_refused(number: int, message: str) -> None:
    own = Search(X, seed=0)
    own.tell(own.ask(), 1.0)
    with pytest.raises(ShadhoError, match=message):
        own.tell(number, 1.0)


def test_a_sampler_or_policy_class_is_taken_as_it_is() -> None:
    own = Search(X, Random, policy=FirstComeFirstServed, seed=0)
    assert (type(own.sampler), type(own.policy)) == (Random, FirstComeFirstServed)
