"""Which workers are connected, and what they say of themselves."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho.backends import Job
from shadho.execution.objective import Function
from shadho.records import Hardware
from shadho_workqueue import WorkQueue
from shadho_workqueue.driver.worker_list import WorkerList
from shadho_workqueue.rendezvous import read
from shadho_workqueue.reports import ask
from shadho_workqueue.worker_info import WorkerInfo, read_workers, trial_mark

HARDWARE = Hardware(16, 64_000, ('RTX 3090', 'V100'), 'EPYC', {'rack': 'east', 'fast': True, 'tier': 2})

STATUS = {
    'address_port': '10.0.0.7:40000', 'hostname': 'node7', 'arch': 'x86_64', 'cores_total': '16', 'memory_total': '64000',
    'disk_total': '9000', 'gpus_total': '2', 'current_task_001_command': 'plain command',
    'current_task_002_command': f'export {trial_mark(12)}; if [ $SHADHO_WORKER ]; then ...',
    'current_task_003_command': f'export {trial_mark(3)}; if',
}  # fmt: skip


@given(
    st.text(), st.integers(1, 10**6), st.integers(0, 10**9), st.lists(st.text(), max_size=4),
    st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()),
)  # fmt: skip
def test_a_card_is_read_as_it_was_written(name: str, cores: int, memory: int, gpus: list[str], features: Any) -> None:
    info = WorkerInfo(name, Hardware(cores, memory, tuple(gpus), 'cpu', features), '3.11')
    text = info.encode()
    assert WorkerInfo.decode(text) == info
    assert text.isascii()
    assert not set(text) & set(' \t\n"\'\\')


@pytest.mark.parametrize(
    'text', ['x86_64', '', 'shadho:', 'shadho:!', 'shadho:e30=', 'shadho:' + base64.urlsafe_b64encode(b'[1]').decode()]
)
def test_anything_else_is_no_card(text: str) -> None:
    assert WorkerInfo.decode(text) is None


@pytest.mark.parametrize(
    'hardware', [{'cores': 0}, {'cores': 'many'}, {'gpus': 'V100'}, {'gpus': 2**31}, {'memory': 10**400}, [], None]
)
def test_a_card_with_impossible_hardware_is_none(hardware: Any) -> None:
    text = json.dumps({'name': 'a', 'hardware': hardware, 'python': '3.11'})
    assert WorkerInfo.decode('shadho:' + base64.urlsafe_b64encode(text.encode()).decode()) is None


def test_workers_of_one_kind_have_one_feature() -> None:
    info = WorkerInfo('a', HARDWARE, '3.11')
    assert info.feature == WorkerInfo('b', HARDWARE, '3.11').feature
    assert info.feature != WorkerInfo('a', HARDWARE, '3.12').feature
    assert info.feature != WorkerInfo('a', Hardware(16), '3.11').feature


def test_a_plain_worker_is_what_the_engine_says() -> None:
    (worker,) = read_workers([STATUS])
    assert (worker.name, worker.address, worker.info) == ('node7', '10.0.0.7:40000', None)
    assert worker.hardware == Hardware(16, 64_000, ('gpu', 'gpu'))
    assert (worker.memory, worker.disk, worker.running) == (64_000, 9000, (12, 3))


def test_a_worker_of_ours_is_what_it_says_itself() -> None:
    (worker,) = read_workers([{**STATUS, 'arch': WorkerInfo('a', HARDWARE, '3.11').encode()}])
    assert (worker.name, worker.host, worker.hardware) == ('a', 'node7', HARDWARE)


def test_a_worker_that_has_not_said_what_it_has_is_left_out() -> None:
    assert read_workers([{'hostname': 'node7', 'address_port': '10.0.0.7:40000'}, {**STATUS, 'cores_total': 0}]) == []


def test_workers_are_the_same_while_their_trials_and_disk_change() -> None:
    other = {**STATUS, 'disk_total': 8000, 'current_task_004_command': trial_mark(4)}
    assert read_workers([STATUS]) == read_workers([other])
    assert read_workers([STATUS]) != read_workers([{**STATUS, 'address_port': '10.0.0.7:40001'}])


# --- asking ------------------------------------------------------------------------------------


@pytest.fixture
def rendezvous() -> Any:
    with WorkQueue() as backend:
        backend.open(Job('worker_list', Function(abs)))
        yield read('worker_list')


def test_a_manager_without_workers_reports_none(rendezvous: Any) -> None:
    assert ask(rendezvous.port, rendezvous.password) == []


def test_a_manager_tells_nobody_who_does_not_know_the_password(rendezvous: Any) -> None:
    with pytest.raises(OSError):
        ask(rendezvous.port, 'guessed')


def test_the_password_is_not_sent(rendezvous: Any) -> None:
    heard = []
    with socket.create_server(('127.0.0.1', 0)) as listener:

        def listen() -> None:
            link, _ = listener.accept()
            with link:
                heard.append(link.recv(1000))
                link.sendall(b'auth password sha1\n' + b'challenge\n')
                heard.extend(iter(lambda: link.recv(1000), b''))

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(OSError):
            ask(listener.getsockname()[1], rendezvous.password, timeout=0.5)
        thread.join()
    assert heard
    assert rendezvous.password.encode() not in b''.join(heard)


def test_what_is_no_manager_is_an_error() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError):
            ask(port, 'password', timeout=0.2)
    with pytest.raises(OSError):
        ask(port, 'password', timeout=0.2)


def test_a_roster_knows_who_comes_and_goes(rendezvous: Any, crew: Any, wait_until: Callable[..., None]) -> None:
    worker_list = WorkerList(rendezvous.port, rendezvous.password)
    hand = crew.start('-M', 'worker_list', name='a', cores=3, gpus='V100,V100', features={'rack': 'east', 'tier': 2})
    wait_until(lambda: worker_list.workers, 'the coming of the worker')
    (worker,) = worker_list.workers
    hardware = worker.hardware
    assert (worker.name, hardware.cores, hardware.memory, hardware.gpus) == ('a', 3, 1000, ('V100', 'V100'))
    assert hardware.features == {'rack': 'east', 'tier': 2}
    hand.end()
    wait_until(lambda: not worker_list.workers, 'the going of the worker')
    worker_list.close()
    worker_list.close()
