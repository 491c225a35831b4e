"""Compute classes: which worker belongs where, and how many slots that gives."""

from __future__ import annotations

import re

import pytest

from shadho import ComputeClass, Hardware
from shadho.errors import ConfigurationError
from shadho.hardware.classes import DeclaredClass, form_classes, slots

SMALL, MIDDLE, LARGE = Hardware(4, 8000), Hardware(8, 16000), Hardware(16, 64000, ('V100', 'V100'))


def test_a_worker_gives_as_many_slots_as_fit_what_a_trial_asks_for() -> None:
    assert slots(LARGE, {'cores': 1}) == 16
    assert slots(LARGE, {'cores': 3}) == 5
    assert slots(LARGE, {'cores': 1, 'gpus': 1}) == 2
    assert slots(LARGE, {'cores': 1, 'memory': 20000}) == 3
    assert slots(SMALL, {'cores': 8}) == 0
    assert slots(SMALL, {'cores': 1, 'gpus': 1}) == 0


def test_unknown_memory_hinders_nothing() -> None:
    assert slots(Hardware(4), {'cores': 1, 'memory': 2000}) == 4


def test_undeclared_workers_are_grouped_by_equal_hardware() -> None:
    classes = form_classes([SMALL, LARGE, SMALL], [], {})
    assert [(own.name, own.slots, own.resources) for own in classes] == [
        ('4-core 8GiB', 8, {'cores': 1}),
        ('16-core 64GiB 2xV100', 16, {'cores': 1}),
    ]


def test_memory_tells_classes_apart_unless_it_is_nearly_the_same() -> None:
    workers = [Hardware(16, memory) for memory in (128_700, 126_100, 64_000, 0)]
    names = [(own.name, own.slots) for own in form_classes(workers, [], {'cores': 16})]
    assert names == [('16-core 128GiB', 2), ('16-core 64GiB', 1), ('16-core', 1)]


def test_a_worker_belongs_to_the_highest_declared_class_that_it_satisfies() -> None:
    declared = [
        DeclaredClass('4-core', 'cores', 4, 50),
        DeclaredClass('16-core', 'cores', 16, 20),
        DeclaredClass('8-core', 'cores', 8, 25),
    ]
    classes = form_classes([SMALL, MIDDLE, LARGE, Hardware(12), Hardware(2)], declared, {})
    assert {own.name: (own.slots, dict(own.resources)) for own in classes} == {
        '4-core': (1, {'cores': 4}),
        '8-core': (2, {'cores': 8}),
        '16-core': (1, {'cores': 16}),
        '2-core': (2, {'cores': 1}),
    }


def test_resources_of_the_user_outweigh_the_amount_of_the_class() -> None:
    (own,) = form_classes([LARGE], [DeclaredClass('16-core', 'cores', 16)], {'cores': 4})
    assert (own.slots, own.resources) == (4, {'cores': 4})


def test_max_tasks_bounds_the_slots_of_a_class() -> None:
    (own,) = form_classes([LARGE] * 30, [DeclaredClass('16-core', 'cores', 16, max_tasks=20)], {})
    assert own.slots == 20


def test_names_must_be_equal() -> None:
    declared = [DeclaredClass('volta', 'gpu_model', 'V100'), DeclaredClass('ib', 'network', 'infiniband')]
    workers = [LARGE, Hardware(4, gpus=('A100',)), Hardware(4, features={'network': 'infiniband'})]
    assert [own.name for own in form_classes(workers, declared, {})] == ['volta', '4-core 1xA100', 'ib']


def test_a_class_takes_its_hardware_from_a_mapping() -> None:
    own = ComputeClass('big', 2, {'cores': 16, 'gpus': ['V100'], 'network': 'ib'})
    assert own.hardware == Hardware(16, gpus=('V100',), features={'network': 'ib'})
    assert str(ComputeClass(hardware={'cores': 1, 'memory': 2048, 'gpus': 2}).hardware) == '1 core, 2 GiB, 2 x gpu'


def test_a_declared_class_says_what_it_wants() -> None:
    assert str(DeclaredClass('big', 'cores', 16)) == "'big' (cores >= 16)"
    assert str(DeclaredClass('volta', 'gpu_model', 'V100')) == "'volta' (gpu_model = V100)"
    with pytest.raises(ConfigurationError, match='memory must be a number above 0'):
        DeclaredClass('big', 'memory', '8GB')


@pytest.mark.parametrize(
    'name, meant',
    [('core', 'cores'), ('Cores', 'cores'), ('gpu', 'gpus'), ('memroy', 'memory'), ('gpu_models', 'gpu_model')],
)
def test_a_typo_of_a_resource_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    told = f"unknown resource '{name}'; did you mean '{meant}'?"
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        DeclaredClass('a', name, 4)
    if meant != 'gpu_model':  # hardware lists models under gpus
        with pytest.raises(ConfigurationError, match=re.escape(f'ComputeClass(): hardware: {told}')):
            ComputeClass('a', 2, {name: 4})
        with pytest.raises(ConfigurationError, match=re.escape(f'ComputeClass(): resources: {told}')):
            ComputeClass('a', 2, {}, {name: 4})


@pytest.mark.parametrize('name', ['rack', 'network', 'score', 'disk', 'tpus', 'cpu'])
def test_names_of_features_are_free(name: str) -> None:
    DeclaredClass('a', name, 4)
    assert ComputeClass('a', 2, {name: 4}).hardware.amount(name) == 4


def test_workers_may_report_features_of_any_name() -> None:
    assert Hardware(features={'core': 4}).amount('core') == 4
    assert ComputeClass('a', 2, {'features': {'core': 4}}).hardware.features == {'core': 4}
