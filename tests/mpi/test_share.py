"""How ranks divide their node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho_mpi.share import Facts, divide, facts

GPUS = (('GPU-a', 'V100'), ('GPU-b', 'V100'), ('GPU-c', 'A100'))


def node(
    *cpus: Any, host: str = 'here', first: int = 1, quota: int = 64, gpus: Any = (), memory: int = 8000
) -> list[Facts]:
    """Return the facts of ranks of one host, by the CPUs that each may use."""
    return [
        Facts(first + place, host, tuple(own), min(quota, len(own)), tuple(gpus), memory)
        for place, own in enumerate(cpus)
    ]


def cores(ranks: list[Facts]) -> list[int]:
    return [divide(own, ranks)[0].cores for own in ranks]


def test_a_rank_alone_has_its_whole_node() -> None:
    ranks = node(range(8), gpus=GPUS)
    hardware, devices = divide(ranks[0], ranks)
    assert (hardware.cores, hardware.memory, hardware.gpus) == (8, 8000, ('V100', 'V100', 'A100'))
    assert devices == ['GPU-a', 'GPU-b', 'GPU-c']


def test_cores_that_several_ranks_may_use_are_divided() -> None:
    assert cores(node(range(8), range(8))) == [4, 4]
    assert cores(node(range(8), range(8), range(8))) == [2, 2, 2]
    assert cores(node(range(3), range(3), range(3))) == [1, 1, 1]


def test_cores_that_the_launcher_has_divided_stay_with_their_ranks() -> None:
    assert cores(node(range(4), range(4, 6))) == [4, 2]


def test_ranks_whose_cores_overlap_divide_the_overlap() -> None:
    assert cores(node(range(4), range(2, 8))) == [3, 5]


def test_a_quota_of_cores_is_divided() -> None:
    """As of a container that may run on all CPUs, but not on all at a time."""
    assert cores(node(range(16), quota=4)) == [4]
    assert cores(node(range(16), range(16), quota=4)) == [2, 2]
    assert cores(node(range(4), range(4, 16), quota=4)) == [4, 4]
    assert cores(node(range(16), range(16), range(16), quota=2)) == [1, 1, 1]


def test_a_rank_sees_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('joblib.cpu_count', lambda: 1)
    assert facts(1).cores == 1


def test_every_rank_has_a_core() -> None:
    assert cores(node([0], [0], [0])) == [1, 1, 1]


@given(st.lists(st.sets(st.integers(0, 15), min_size=1), min_size=1, max_size=6))
def test_no_core_is_given_away_twice(cpus: list[set[int]]) -> None:
    """But where a rank would have none."""
    given = cores(node(*cpus))
    assert all(1 <= number <= len(own) for number, own in zip(given, cpus))
    assert sum(number for number in given if number > 1) <= len(set().union(*cpus))


def test_memory_is_divided_among_the_ranks_of_a_node() -> None:
    ranks = node(range(8), range(8), range(8), range(8))
    assert {divide(own, ranks)[0].memory for own in ranks} == {2000}


def test_nodes_are_divided_each_by_itself() -> None:
    ranks = [*node(range(8), range(8)), *node(range(4), host='there', first=3, memory=4000, gpus=GPUS[:1])]
    shares = [divide(own, ranks)[0] for own in ranks]
    assert [(own.cores, own.memory, own.gpus) for own in shares] == [
        (4, 4000, ()), (4, 4000, ()), (4, 4000, ('V100',)),
    ]  # fmt: skip


def test_gpus_go_round() -> None:
    ranks = node(range(8), range(8), gpus=GPUS)
    assert [divide(own, ranks)[1] for own in ranks] == [['GPU-a', 'GPU-c'], ['GPU-b']]
    assert [divide(own, ranks)[0].gpus for own in ranks] == [('V100', 'A100'), ('V100',)]


def test_ranks_beyond_the_gpus_have_none() -> None:
    ranks = node(*[range(8)] * 4, gpus=GPUS)
    assert [divide(own, ranks)[1] for own in ranks] == [['GPU-a'], ['GPU-b'], ['GPU-c'], []]


def test_gpus_that_the_launcher_has_divided_stay_with_their_ranks() -> None:
    ranks = [*node(range(8), gpus=GPUS[:1]), *node(range(8), first=2, gpus=GPUS[1:2])]
    assert [divide(own, ranks)[1] for own in ranks] == [['GPU-a'], ['GPU-b']]


def test_given_facts_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SHADHO_HARDWARE', json.dumps({'cores': 16, 'gpus': ['P100'], 'rack': 'east'}))
    ranks = node(range(8), range(8), gpus=GPUS)
    hardware, _ = divide(ranks[0], ranks)
    assert (hardware.cores, hardware.memory, hardware.gpus) == (16, 4000, ('P100',))
    assert hardware.features == {'rack': 'east'}
