"""What others on the network can do to a search on many machines: wait, and nothing else.

Refusals, and who is told of them, are in tests/workqueue/test_errors.py; that a password is proven and not sent is in
tests/workqueue/test_worker_info.py; dashboards are in tests/core/test_dashboard.py.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from click.testing import CliRunner

from shadho import load_result
from shadho.cli import cli
from shadho_workqueue.installation import find_program
from shadho_workqueue.rendezvous import Rendezvous, read

SERVING = """
import time
from pathlib import Path
from shadho import Shadho, hookimpl, spaces

TREASURE = 'the objective of this search'

def objective(params):
    import time
    time.sleep(0.05)
    return len(TREASURE) + params['x']

class Enough:
    @hookimpl
    def shadho_trial_finished(self, trial):
        Path('finished').write_text(str(trial.id + 1))

    @hookimpl
    def shadho_should_stop(self, trial):
        return Path('enough').exists()

if __name__ == '__main__':
    Shadho('faults', objective, {'x': spaces.uniform(0, 1)}, backend=WorkQueue(debug_log='debug.log'), method='random',
           plugins=[Enough()], max_tasks=10_000).run()
"""
TREASURE = b'the objective of this search'


class Serving(NamedTuple):
    """A search that runs with one worker, and where it listens."""

    launch: Any
    worker: Any
    rendezvous: Rendezvous
    wait_until: Callable[..., None]

    def finished(self) -> int:
        """Return how many trials have ended by now."""
        with contextlib.suppress(OSError, ValueError):
            return int(Path('finished').read_text())
        return 0

    def goes_on(self) -> None:
        """Wait for five trials more."""
        before = self.finished()
        self.wait_until(lambda: self.finished() >= before + 5, 'the end of more trials', 300.0)

    def end(self) -> list[Any]:
        """End the search, and return its trials."""
        Path('enough').touch()
        assert self.launch.wait() == 0, self.launch.err
        trials = list(load_result('faults.db'))
        assert {(trial.state.value, trial.host) for trial in trials} == {('done', 'honest')}
        assert sorted(trial.id for trial in trials)[: self.finished()] == list(range(self.finished()))
        return trials


@pytest.fixture
def serving(drivers: Any, crew: Any, wait_until: Callable[..., None]) -> Iterator[Serving]:
    """Return a search in which trials end."""
    worker = crew.start('-M', 'faults', name='honest')
    launch = drivers.start('workqueue', SERVING)
    wait_until(lambda: read('faults') is not None, 'the start of the driver', 90.0)
    rendezvous = read('faults')
    assert rendezvous is not None
    started = Serving(launch, worker, rendezvous, wait_until)
    started.goes_on()
    yield started


def shake_hands(port: int, text: bytes, *, stays: bool = False) -> bytes:
    """Send a text to the manager as anybody can; return its answer."""
    answer = b''
    with socket.create_connection(('127.0.0.1', port), 30.0) as link, contextlib.suppress(OSError):
        link.sendall(text)
        if not stays:
            link.shutdown(socket.SHUT_WR)
        while received := link.recv(2**16):
            answer += received
    return answer


KNOWN = [
    b'', b'\n', b'GET / HTTP/1.1\r\nHost: a\r\n\r\n', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\xaa' * 500,
    b'SSH-2.0-OpenSSH_9.6\r\n', b'worker_status\n', b'queue_status\n', b'task_status\n', b'workqueue 10 a linux x86_64 7\n',
    b'auth password sha1\n', b'auth password sha1\nyes\n', b'auth password sha1\na\nb\nok\nworker_status\n', b'auth none\n',
    b'auth hostname\n', b'auth unix\n', b'auth password sha1\n' + b'A' * 10**6, b'A' * 10**6, b'\0' * 10_000, b'%s%n%p\n' * 99,
]  # fmt: skip
"""What port scanners, browsers and others say who found the port."""


def test_who_does_not_know_the_password_gets_nothing_and_ends_nothing(
    serving: Serving, crew: Any, tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    port = serving.rendezvous.port
    chance = random.Random(1)
    texts = [*KNOWN, *[chance.randbytes(chance.choice([10, 1000, 70_000])) for _ in range(rounds(20, 500))]]
    mixed = [b''.join(chance.choices(KNOWN[4:15], k=3)) for _ in range(rounds(10, 500))]
    answers = [shake_hands(port, text) for text in [*texts, *mixed]]
    assert {line.partition(b' ')[0] for answer in answers for line in answer.splitlines()[:1]} <= {b'auth', b'no'}
    assert not any(TREASURE in answer or serving.rendezvous.password.encode() in answer for answer in answers)
    serving.goes_on()
    (tmp_path / 'guess').write_text('guessed')
    guessing = crew.start('--host', f'127.0.0.1:{port}', '--password-file', str(tmp_path / 'guess'), name='guessing')
    program = find_program('work_queue_worker')
    plain = crew.run([program, '127.0.0.1', str(port), '-t', '5', '--single-shot'], 'plain')
    guessing.wait_to_hear('has another password')
    plain.wait_to_hear('requires a password')
    serving.goes_on()
    for intruder in (guessing, plain):
        brought = [path for path in intruder.folder.rglob('*') if path.is_file()]
        assert not [path for path in brought if TREASURE in path.read_bytes() or 'objective' in path.name]
    trials = serving.end()
    print(f'{len(answers)} texts from the network and 2 workers without the password: nothing told, 0 of {len(trials)} '
          'trials lost')  # fmt: skip


def test_connections_that_say_nothing_hold_a_search_up_and_end_nothing(
    serving: Serving, rounds: Callable[[int, int], int]
) -> None:
    """The engine waits five seconds for each of them, with all else."""
    with contextlib.ExitStack() as stack:
        for _ in range(rounds(2, 20)):
            stack.enter_context(socket.create_connection(('127.0.0.1', serving.rendezvous.port)))
        serving.goes_on()
    serving.goes_on()
    assert serving.worker.is_running
    serving.end()


def arguments_and_variables() -> bytes:
    """Return what the system tells of all processes: arguments to everybody, variables to their own user."""
    told = b''
    for process in psutil.process_iter():
        for kind in ('cmdline', 'environ'):
            with contextlib.suppress(OSError):
                told += Path(f'/proc/{process.pid}/{kind}').read_bytes()
    return told


def test_passwords_and_tokens_are_in_no_list_of_processes_and_in_nothing_that_is_shown_or_kept(
    serving: Serving,
) -> None:
    password = serving.rendezvous.password.encode()
    _, _, token = serving.worker.engine.environ()['SHADHO_WORKER'].partition(':')
    assert len(token) == 32
    for _ in range(20):
        arguments = [' '.join(process.info['cmdline'] or ()) for process in psutil.process_iter(['cmdline'])]
        assert not [line for line in arguments if token in line]
    told = arguments_and_variables()
    assert b'work_queue_worker' in told
    assert b'manager.py' in told
    assert password not in told
    serving.end()
    shown = [CliRunner().invoke(cli, [*command.split(), *options]).output.encode()
             for command in ('status faults.db', 'best faults.db', 'trials faults.db', 'report faults.db', 'export faults.db a.csv')
             for options in ([], ['--json'])]  # fmt: skip
    shown += [serving.launch.out.encode(), serving.launch.err.encode(), serving.worker.said.encode()]
    kept = {path.name: path.read_bytes() for path in Path().rglob('*') if path.is_file()}
    assert {'faults.db', 'faults.html', 'a.csv', 'debug.log'} <= set(kept)
    assert not [name for name, text in kept.items() if password in text]
    assert not [text for text in shown if password in text]
