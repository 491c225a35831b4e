"""The file by which workers find their driver."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from shadho.backends import Job
from shadho.errors import BackendError
from shadho.execution.objective import Function
from shadho_workqueue import WorkQueue
from shadho_workqueue.rendezvous import (
    Rendezvous,
    keep_private,
    new_password,
    read,
    read_password,
    rendezvous_file,
    wait_for,
)

HERE = socket.gethostname()


def driver_elsewhere(**facts: Any) -> Rendezvous:
    return Rendezvous(
        **{'exp_key': 'key', 'host': HERE, 'port': 9000, 'password': 'known', 'pid': os.getppid(), **facts}
    )


def ended_process() -> int:
    with subprocess.Popen(['true']) as process:
        pass
    return process.pid


def test_what_is_written_is_read() -> None:
    rendezvous = driver_elsewhere(ssl=True, version='7.17.1')
    rendezvous.write()
    assert read('key') == rendezvous


def test_only_the_user_may_read_it(state_folder: Path) -> None:
    driver_elsewhere().write()
    assert stat.S_IMODE(rendezvous_file('key').stat().st_mode) == 0o600
    assert rendezvous_file('key').parent == state_folder
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700


def test_the_password_is_not_shown() -> None:
    assert 'known' not in repr(driver_elsewhere())


def test_it_lies_below_the_home_folder_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv('XDG_STATE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert rendezvous_file('key') == tmp_path / '.local' / 'state' / 'shadho' / 'workqueue' / 'key.json'


@pytest.mark.parametrize('key', ['../../key', 'a/b', 'a b', '$(touch here)', 'ü☃'])
def test_no_key_leads_out_of_the_folder(key: str, state_folder: Path) -> None:
    driver_elsewhere(exp_key=key).write()
    assert [path.parent for path in state_folder.rglob('*.json')] == [state_folder]
    assert read(key) == driver_elsewhere(exp_key=key)


def test_a_half_written_file_is_never_seen() -> None:
    written = [driver_elsewhere(version='x' * length) for length in (1, 100_000)]
    written[0].write()
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            for rendezvous in written:
                rendezvous.write()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(read('key') in written for _ in range(200))
    finally:
        ended.set()
        thread.join()


def test_a_file_is_kept_private_also_where_one_was_open_to_all(tmp_path: Path) -> None:
    path = tmp_path / 'password'
    path.write_text('old')
    path.chmod(0o644)
    keep_private(path, 'new')
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ('new', 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_driver_on_this_machine_is_reached_by_the_loopback() -> None:
    assert driver_elsewhere().address == '127.0.0.1'
    assert driver_elsewhere(host='login.example.org', machine='login').address == 'login.example.org'


def test_a_driver_whose_process_has_ended_is_not_alive(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert driver_elsewhere(port=port).is_alive
    assert not driver_elsewhere(port=port, pid=ended_process()).is_alive
    assert driver_elsewhere(pid=ended_process(), machine='another').is_alive  # as far as can be told


def test_a_driver_whose_port_nobody_listens_to_is_not_alive_though_another_process_has_its_number(
    listener: socket.socket,
) -> None:
    rendezvous = driver_elsewhere(port=listener.getsockname()[1])
    listener.close()
    assert not rendezvous.is_alive


def test_keys_that_differ_in_what_a_file_name_cannot_hold_have_files_of_their_own() -> None:
    assert len({rendezvous_file(key) for key in ('a/b', 'a b', 'a_b')}) == 3


def test_waiting_ends_when_the_driver_starts(listener: socket.socket) -> None:
    driver_elsewhere(pid=ended_process()).write()
    port = listener.getsockname()[1]
    timer = threading.Timer(0.3, driver_elsewhere(port=port).write)
    timer.start()
    assert wait_for('key', 30.0).port == port
    timer.join()


def test_waiting_in_vain_says_which_searches_there_are() -> None:
    driver_elsewhere(exp_key='other').write()
    with pytest.raises(BackendError, match=r"no search 'key' was found within 0.1 s in .*Searches found: other"):
        wait_for('key', 0.1)


def test_a_search_removes_only_its_own_file() -> None:
    old, new = driver_elsewhere(), driver_elsewhere(port=9001)
    new.write()
    old.remove()
    assert read('key') == new
    new.remove()
    assert read('key') is None
    new.remove()


def test_a_search_leaves_its_file_while_it_runs_only() -> None:
    with WorkQueue() as backend:
        backend.open(Job('key', Function(abs)))
        rendezvous = read('key')
        assert rendezvous is not None
        assert (rendezvous.pid, rendezvous.machine, rendezvous.ssl) == (os.getpid(), HERE, backend._engine.ssl)
    assert read('key') is None


def test_a_search_whose_workers_stay_leaves_its_file_and_takes_its_port_and_password_again() -> None:
    found = []
    for _ in range(2):
        with WorkQueue(keep_workers=True) as backend:
            backend.open(Job('key', Function(abs)))
        found.append(read('key'))
    assert found[0] is not None
    assert found[0] == found[1]


def test_a_search_takes_a_password_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / 'password').write_text('from the user\n')
    with WorkQueue(password_file=tmp_path / 'password') as backend:
        backend.open(Job('key', Function(abs)))
        rendezvous = read('key')
    assert rendezvous is not None
    assert rendezvous.password == 'from the user'


def test_passwords_that_are_made_up_are_long_and_different() -> None:
    assert len({new_password() for _ in range(10)}) == 10
    assert len(new_password()) >= 40


@pytest.mark.parametrize(
    ('content', 'message'), [(None, 'cannot be read'), ('\n', 'is empty'), (b'\xff\xfe', 'cannot be')]
)
def test_a_password_file_that_holds_none_is_named(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / 'password'
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BackendError, match=f"password file '{path}' {message}"):
        read_password(path)


@pytest.mark.parametrize(
    'text', ['', '{', '[]', '{"port": 1}', json.dumps(attrs.asdict(driver_elsewhere()) | {'more': 1})]
)
def test_a_damaged_file_is_named(text: str, state_folder: Path) -> None:
    keep_private(state_folder / 'key.json', text)
    with pytest.raises(BackendError, match=r'key.json is damaged .*; remove it and start the driver again'):
        read('key')
