"""What comes from elsewhere (workers, managers, files that say where a driver is, browsers): understood, or dropped."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from shadho import Shadho, spaces
from shadho.errors import ShadhoError
from shadho.records import Result, TrialState
from shadho.storage.sqlite import SQLite
from shadho_local import Local
from shadho_worker.files import output_name
from shadho_workqueue.driver.backend import _outcome
from shadho_workqueue.driver.outputs import take_outputs
from shadho_workqueue.rendezvous import Rendezvous, read, rendezvous_file
from shadho_workqueue.reports import ask
from shadho_workqueue.worker_info import WorkerInfo, read_workers

NUMBERS: list[Any] = [0, 1, -1, 7, 2**31, 2**63, 10**30, 10**400, 0.5, -0.5, 1e308, math.inf, -math.inf, math.nan]
TEXTS = [
    '',
    'x',
    'done',
    'failed',
    '7',
    '-1',
    '1e999',
    '\ud800',
    '\0',
    '\x1b[2J',
    'a' * 3000,
    '../x',
    'node7',
    '99999999999999999999',
]
TAGGED: list[Any] = [
    {'$float': 'x'}, {'$float': 10**400}, {'$tuple': 5}, {'$array': {'dtype': 'f8', 'shape': [10**9], 'data': [1]}},
    {'$array': {'dtype': 'O', 'shape': [1], 'data': [1]}}, {'$dict': [[[], 1]]}, {'$bytes': 'zz'}, {'$complex': [1]}, {'$repr': {}},
]  # fmt: skip

scalars = st.sampled_from([*NUMBERS, *TEXTS, *TAGGED, None, True, False])
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=6,
)


def objects(good: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Something that has some values of a good object, and others in place of the rest; now and then it is no object."""
    fields = {key: st.just(value) | data for key, value in good.items()}
    return st.one_of(
        st.fixed_dictionaries(fields),
        st.fixed_dictionaries({}, optional=fields),
        st.sampled_from(list(good)).flatmap(lambda key: data.map(lambda value: {**good, key: value})),
        data,
    )


ERROR = {'kind': 'exception', 'message': 'no', 'traceback': ''}
OUTCOME = {
    'state': 'done',
    'loss': 1.5,
    'results': {'loss': 1.5},
    'error': None,
    'trial': 3,
    'seconds': 0.1,
    'output': 'said',
    'worker': 'node7',
    'archives': [0],
}
FAILED = {**OUTCOME, 'state': 'failed', 'loss': None, 'error': ERROR}

texts = st.one_of(
    (objects(OUTCOME) | objects(FAILED) | objects(OUTCOME)).map(json.dumps),
    st.text(max_size=20),
    st.sampled_from(['[' * 100_000, '{"a":' * 5000, '9' * 5000, '\n\n', json.dumps(OUTCOME)[:-5], 'NaN']),
)


def test_what_a_worker_sends_as_a_result_is_a_result_that_can_be_kept_or_none(fuzz: Any, tmp_path: Path) -> None:
    storage = SQLite(tmp_path / 'a.db')

    def tried(text: str) -> None:
        outcome = _outcome(f'some words\n{text}', 3)
        if outcome is None:
            return
        result = Result.of(
            3,
            outcome,
            started=1.0,
            finished=2.0,
            seconds=outcome['seconds'],
            host=str(outcome.get('worker', 'x')),
            output=outcome['output'],
        )
        assert result.state in (TrialState.DONE, TrialState.FAILED)
        assert (result.loss is None) == (result.error is not None) == (result.state is TrialState.FAILED)
        (tmp_path / 'a.db').unlink(missing_ok=True)
        with storage:
            storage.append(result)
        [(_, kept)] = storage.read()
        assert (kept.trial, kept.state, kept.loss) == (3, result.state, result.loss)

    fuzz(tried, 300, text=texts)


# --- files that come back --------------------------------------------------------------------------


def archive(entries: list[tuple[str, bytes, bytes]]) -> bytes:
    """Make an archive of (name, kind, content)."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode='w') as file:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content) if kind == tarfile.REGTYPE else 0, '/etc/passwd'
            with contextlib.suppress(ValueError):  # a name that cannot be written
                file.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


NAMES = [
    'a',
    'b/c',
    '../out',
    '/tmp/shadho-out',
    'b/../../out',
    '.',
    '',
    'a/b',
    'x' * 300,
    '\ud800',
    'é',
    'b',
    '..',
    'c:\\x',
    'nul\0l',
]
KINDS = [
    tarfile.REGTYPE,
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.GNUTYPE_SPARSE,
    b'?',
]


def test_archives_of_output_files_stay_in_their_place_whatever_is_in_them(fuzz: Any, tmp_path: Path) -> None:
    entries = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS), st.binary(max_size=50)), max_size=5)

    def tried(own: list[Any], flips: list[int], cut: int) -> None:
        content = bytearray(archive(own))
        for flip in flips:
            content[flip % len(content)] ^= 1 << flip % 8
        number = random.Random(str(own) + str(flips)).randrange(10**9)
        home = tmp_path / str(number)
        come = home / 'in'
        come.mkdir(parents=True, exist_ok=True)
        (come / output_name(0)).write_bytes(content[: len(content) - cut])
        said = take_outputs(come, home / 'target', ['kept'], [0])
        assert isinstance(said, str)
        outside = [
            path
            for path in home.rglob('*')
            if home / 'target' not in (path, *path.parents) and come not in (path, *path.parents)
        ]
        assert outside == []
        assert not any(path.is_symlink() for path in home.rglob('*'))

    fuzz(
        tried,
        250,
        own=entries,
        flips=st.lists(st.integers(0, 5000), max_size=4),
        cut=st.sampled_from([0, 0, 1, 512, 1000]),
    )
    assert not Path('/tmp/shadho-out').exists()
    assert sorted(path.name for path in tmp_path.parent.glob('out')) == []


# --- where a driver is -----------------------------------------------------------------------------

RENDEZVOUS = {
    'exp_key': 'fuzz',
    'host': 'node1',
    'port': 9123,
    'password': 'secret',
    'pid': 1,
    'machine': 'elsewhere',
    'ssl': False,
    'version': '7.1',
}


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    return tmp_path


def test_a_file_that_says_where_a_driver_is_makes_sense_or_is_refused(fuzz: Any, state_folder: Path) -> None:
    path = rendezvous_file('fuzz')
    path.parent.mkdir(parents=True)
    contents = st.one_of(
        (objects(RENDEZVOUS) | objects({**RENDEZVOUS, 'machine': socket.gethostname()})).map(
            lambda own: json.dumps(own).encode()
        ),
        st.binary(max_size=40),
        st.sampled_from([b'', b'\xff\xfe', b'[' * 100_000, b'null', b'9' * 5000]),
    )

    def tried(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = read('fuzz')
        except ShadhoError as error:
            assert 'is damaged' in str(error)
            return
        assert found is not None
        assert isinstance(found.is_alive, bool)
        assert isinstance(found.address, str)
        assert 0 <= found.port < 2**16

    fuzz(tried, 300, content=contents)


# --- managers and workers --------------------------------------------------------------------------

STATUS = {
    'address_port': '10.0.0.7:40000', 'hostname': 'node7', 'arch': 'x86_64', 'cores_total': '16', 'memory_total': 64000,
    'disk_total': 9000, 'gpus_total': 2, 'current_task_001_command': 'export SHADHO_TRIAL=3; if',
}  # fmt: skip
INFO = {
    'name': 'a',
    'hardware': {'cores': 4, 'memory': 100, 'gpus': ['V100'], 'cpu': 'x', 'features': {'rack': 1}},
    'python': '3.11',
}


def arch(info: Any) -> str:
    return 'shadho:' + base64.urlsafe_b64encode(json.dumps(info).encode()).decode()


def test_what_a_manager_says_of_workers_is_taken_as_far_as_it_makes_sense(fuzz: Any) -> None:
    hardware = objects(INFO['hardware'])
    infos = objects(INFO) | hardware.map(lambda own: {**INFO, 'hardware': own})
    statuses = st.lists(objects(STATUS) | infos.map(lambda info: {**STATUS, 'arch': arch(info)}), max_size=3)

    def tried(status: list[Any]) -> None:
        for worker in read_workers([*status, STATUS]):
            assert 0 < worker.hardware.cores <= 10**6
            assert 0 <= worker.hardware.memory < 10**12
            assert len(worker.hardware.gpus) <= 10**6
            assert isinstance(worker.name, str)
            assert str(worker.hardware)
        assert any(worker.address == STATUS['address_port'] for worker in read_workers([*status, STATUS]))

    fuzz(tried, 300, status=statuses)


def test_texts_that_look_like_cards_of_workers_are_cards_or_none(fuzz: Any) -> None:
    def tried(text: str) -> None:
        info = WorkerInfo.decode(text)
        assert info is None or isinstance(info.feature, str)

    fuzz(
        tried,
        300,
        text=st.one_of(
            st.text(max_size=30).map('shadho:'.__add__),
            st.binary(max_size=30).map(lambda own: 'shadho:' + base64.urlsafe_b64encode(own).decode()),
            objects(INFO).map(arch),
        ),
    )


@contextlib.contextmanager
def answering(lines: list[bytes]) -> Iterator[int]:
    """Listen as a manager does, answer each line with another, and hang up; yields the port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            link, _ = listener.accept()
            with link, link.makefile('rb') as heard:
                link.settimeout(0.2)
                for line in lines:
                    heard.readline(5000)
                    link.sendall(line)

    with socket.create_server(('127.0.0.1', 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_whatever_listens_at_the_port_of_a_manager_is_one_or_an_error(fuzz: Any) -> None:
    lines = st.lists(
        st.sampled_from(
            [
                b'auth password sha1\n',
                b'ok\n',
                b'\n',
                b'x' * 5000 + b'\n',
                b'\xff\xfe\n',
                b'[]',
                b'[' * 50_000,
                b'HTTP/1.1 400 Bad\r\n\r\n',
            ]
        )
        | st.binary(max_size=20),
        max_size=6,
    )

    def tried(own: list[bytes]) -> None:
        with answering(own) as port, contextlib.suppress(OSError):
            ask(port, 'secret', timeout=0.2)
        with answering(own) as port:
            me = Rendezvous('fuzz', 'localhost', port, 'secret', os.getppid())
            assert me.is_alive in (True, False)

    fuzz(tried, 40, own=lines)


# --- processes of trials ---------------------------------------------------------------------------


def test_a_search_goes_on_whatever_the_process_of_a_trial_sends_in_its_place(fuzz: Any) -> None:
    def babble(params: Any) -> float:
        """Write into every socket of this process, as what a worker runs could; it cannot import this module."""
        for number in range(3, 40):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as link:
                link.sendall(bytes.fromhex(params['junk']))
        return 1.0

    lines = texts.map(lambda text: text.encode('utf-8', 'surrogatepass') + b'\n') | st.binary(max_size=50)
    junk: list[str] = []
    fuzz(lambda line: junk.append(line[:30_000].hex()), 60, line=lines)
    opt = Shadho(
        'fuzz',
        babble,
        {'junk': spaces.grid(sorted(set(junk)))},
        'grid',
        backend=Local(workers=2),
        storage='fuzz.db',
        seed=0,
        display=False,
        trial_timeout=20,
    )
    result = opt.run()
    assert len(result) == len(set(junk))
    assert not any('could not be loaded' in str(trial.error) for trial in result)
    assert all(trial.loss is not None or trial.error is not None for trial in result)
    assert sum(len(trial.results) > 0 or trial.error is not None for trial in result) == len(result)


# --- browsers --------------------------------------------------------------------------------------


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[tuple[int, Path, Any]]:
    Shadho(
        'live',
        lambda params: params['x'],
        {'x': spaces.uniform(0, 1)},
        'random',
        max_tasks=3,
        seed=0,
        backend='inline',
        storage='a.db',
        display=False,
    ).run()
    log = tmp_path / 'log'
    command = [str(Path(sys.executable).parent / 'shadho'), 'dashboard', 'a.db', '--token']
    with (
        log.open('wb') as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        address = re.search(r'http://127.0.0.1:(\d+)/\?token=(\S+)', process.stdout.readline())
        assert address is not None
        yield int(address[1]), log, address[2]
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert 'Traceback' not in log.read_text(), log.read_text()


METHODS = [b'GET', b'HEAD', b'POST', b'PUT', b'OPTIONS', b'CONNECT', b'get', b'PRI', b'\xff', b'', b'G' * 70_000]
PATHS = [
    b'/', b'/data', b'/events', b'/../a.db', b'/%2e%2e/a.db', b'/a.db', b'//etc/passwd', b'/?token=', b'/data?token=\xff', b'/?token=%ff%00', b'*', b'',
    b'http://evil/', b'/' + b'a' * 100_000, b'/%', b'/?token=x&token=y', b'/\x00', b'/data#x', 'é'.encode(), b'/?token=%ED%A0%80', b'/?token=' + 'é'.encode(),
]  # fmt: skip
HEADERS = [
    b'Host: 127.0.0.1', b'Host: evil.example', b'Host:', b'Host: \xff', b'Host: [::1', b'Host: 127.0.0.1:99999999', b'Host: 127.0.0.1:x', b'Host: a@b:c@d', b'Cookie: shadho-token=x', b'Cookie: shadho-token=\xff',
    b'Cookie: ' + b'a=b; ' * 5000, b'Content-Length: 10', b'Content-Length: -1', b'Content-Length: 99999999999999999999', b'Transfer-Encoding: chunked', b'Upgrade: websocket',
    b'Connection: Upgrade', b'Accept-Encoding: gzip, \xff', b'X: ' + b'y' * 70_000, b': x', b'no colon', b'Range: bytes=0-1', b'Expect: 100-continue', b'Origin: null',
]  # fmt: skip
requests = st.one_of(
    st.builds(
        lambda method, path, version, headers, body: method + b' ' + path + b' HTTP/' + version + b'\r\n' + b'\r\n'.join([*headers, b'Connection: close', b'', body]),
        st.sampled_from(METHODS), st.sampled_from(PATHS), st.sampled_from([b'1.1', b'1.1', b'1.0', b'9.9', b'2', b'']),
        st.lists(st.sampled_from(HEADERS), max_size=4), st.binary(max_size=20),
    ),
    st.binary(max_size=200),
)  # fmt: skip


def test_the_dashboard_answers_or_hangs_up_on_any_bytes_and_stays(fuzz: Any, dashboard: Any) -> None:
    port, _, token = dashboard

    def tried(request: bytes) -> None:
        with socket.create_connection(('127.0.0.1', port), 10) as link, contextlib.suppress(ConnectionError):
            link.sendall(request)
            with contextlib.suppress(OSError):  # it has hung up already
                link.shutdown(socket.SHUT_WR)
            answer = link.recv(4096)
            assert not answer or answer.startswith(b'HTTP/1.1 ')
            assert not answer.startswith((b'HTTP/1.1 200', b'HTTP/1.1 5')), answer[:200]

    fuzz(tried, 250, request=requests)
    with urllib.request.urlopen(
        urllib.request.Request(f'http://127.0.0.1:{port}/data', headers={'Cookie': f'shadho-token={token}'}), timeout=60
    ) as answer:
        assert json.load(answer)['title'] == 'live'
