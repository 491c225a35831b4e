"""What keeps a worker from its driver, and how soon the user hears of it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shadho.backends import Job
from shadho.execution.objective import Function
from shadho_workqueue import WorkQueue, reach
from shadho_workqueue.reach import Driver, Place, Watch
from shadho_workqueue.rendezvous import read
from shadho_workqueue.worker.output import WorkerOutput


@pytest.fixture
def unanswered() -> Iterator[int]:
    """Return a port that drops connections, as a firewall does: its queue is full."""
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(socket.socket())
        own.bind(('127.0.0.1', 0))
        own.listen(0)
        for _ in range(3):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(own.getsockname())
        yield own.getsockname()[1]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, and answer one connection; yield the port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            link, _ = own.accept()
            with link:
                answer(link)

    with socket.create_server(('127.0.0.1', 0)) as own:
        thread = threading.Thread(target=serve)
        thread.start()
        yield own.getsockname()[1]
        with contextlib.suppress(OSError), socket.create_connection(own.getsockname(), 1.0):
            pass  # if nobody came
        thread.join()


@pytest.fixture
def manager() -> Iterator[Place]:
    """Return where a real manager is."""
    with WorkQueue() as backend:
        backend.open(Job('reach', Function(abs)))
        rendezvous = read('reach')
        assert rendezvous is not None
        yield Place('127.0.0.1', rendezvous.port, rendezvous.password, version=rendezvous.version)


@pytest.mark.parametrize('host', ['no-such-host.invalid', 'a' * 70 + '.invalid', ''])
def test_a_name_that_cannot_be_resolved_is_told_of(host: str) -> None:
    assert Place(host, 9123, 'known').obstacle().startswith(f'the host name {host!r} cannot be resolved (')


def test_a_port_that_nobody_listens_at_is_told_of(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert (
        Place('127.0.0.1', port, 'known').obstacle().startswith(f'nobody listens at 127.0.0.1:{port}: the driver has')
    )


def test_a_connection_that_is_dropped_is_told_of(unanswered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, '_CONNECT', 0.2)
    found = Place('127.0.0.1', unanswered, 'known').obstacle()
    assert found.startswith(f'127.0.0.1:{unanswered} does not answer within 0.2 s: the machine is off')


def test_an_address_without_a_route_is_told_of() -> None:
    assert 'cannot be reached' in Place('255.255.255.255', 9123, 'known').obstacle()


@pytest.mark.parametrize(
    'answer',
    [
        lambda link: None,
        lambda link: link.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n'),
        lambda link: link.sendall(b'auth password sha1\n\xff\xff\n'),
        lambda link: link.sendall(bytes(10_000)),
    ],
    ids=['closes', 'web', 'garbled', 'zeros'],
)
def test_another_program_at_the_port_is_told_of(answer: Any) -> None:
    with answering(lambda link: (link.recv(100), answer(link))) as port:  # type: ignore[arg-type, return-value]
        found = Place('127.0.0.1', port, 'known').obstacle()
    assert f'127.0.0.1:{port}' in found
    assert 'does not answer as a driver does' in found or 'another password' in found


def test_a_driver_that_hangs_is_told_of(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, '_ANSWER', 0.2)
    port = listener.getsockname()[1]
    found = Place('127.0.0.1', port, 'known').obstacle()
    assert found.startswith(f'127.0.0.1:{port} is open, but does not answer within 0.2 s: the driver hangs')


def test_another_password_is_told_of_and_the_same_one_is_not(manager: Place) -> None:
    assert manager.obstacle() == ''
    wrong = Place(manager.host, manager.port, 'guessed').obstacle()
    assert wrong.startswith(f'the driver at 127.0.0.1:{manager.port} has another password: ')


def test_another_release_of_the_engine_is_told_of(manager: Place) -> None:
    found = Place(manager.host, manager.port, manager.password, version='0.1.2').obstacle()
    assert f'has Work Queue {manager.version}, and this machine 0.1.2' in found
    assert found.endswith('install the same release on both')


def test_through_ssl_only_the_connection_is_tried(listener: socket.socket) -> None:
    driver = Driver(listener_address(listener), ('-t', '60', '--ssl'), 'known')
    assert Place.of(driver).obstacle() == ''


def test_the_password_may_be_in_a_file_that_the_engine_is_given(tmp_path: Path) -> None:
    (tmp_path / 'password').write_text('known\n')
    place = Place.of(Driver(('login', '9000'), ('-P', str(tmp_path / 'password'))))
    assert place == Place('login', 9000, 'known')


def listener_address(listener: socket.socket) -> tuple[str, str]:
    return '127.0.0.1', str(listener.getsockname()[1])


# --- catalogs ----------------------------------------------------------------------------------


def catalog(entries: bytes) -> Callable[[socket.socket], None]:
    def answer(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + entries)

    return answer


@pytest.mark.parametrize(
    ('entries', 'found'),
    [
        (b'[]', "knows no search 'key': its driver has not started"),
        (b'[{"type": "wq_master", "project": "other"}, 1]', "knows no search 'key'"),
        (b'no JSON', 'does not answer ('),
    ],
)
def test_a_catalog_that_does_not_know_the_search_is_told_of(entries: bytes, found: str) -> None:
    with answering(catalog(entries)) as port:
        told = reach.manager_address(f'127.0.0.1:{port}', 'key')
    assert isinstance(told, str)
    assert told.startswith(f'the catalog server at 127.0.0.1:{port} {found}')


def test_a_catalog_says_where_the_manager_is() -> None:
    entries = b'[{"type": "wq_master", "project": "key", "address": "10.0.0.7", "port": 9000}]'
    with answering(catalog(entries)) as port:
        assert reach.manager_address(f'127.0.0.1:{port}', 'key') == ('10.0.0.7', 9000)


def test_a_catalog_that_cannot_be_resolved_is_told_of() -> None:
    place = Place.of(Driver(('-C', 'no-such-host.invalid', '-M', 'key'), ()))
    assert place.obstacle().startswith("the host name 'no-such-host.invalid' cannot be resolved")


# --- what the engine's worker prints -----------------------------------------------------------


class Terminal:
    """The engine's end of a terminal, and what the user sees of it."""

    def __init__(self, say: Callable[[str], None], watch: Any) -> None:
        heard, self.number = os.openpty()
        self.words = WorkerOutput(heard, say, watch)

    def prints(self, text: str) -> None:
        os.write(self.number, text.encode())
        self.words.read()

    def close(self) -> None:
        for number in (self.number, self.words.fileno()):
            os.close(number)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def terminal(said: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setattr('shadho_workqueue.worker.output._SETTLED', 0.0)

    class Watched:
        connected = False

        def note(self, connected: bool) -> None:
            self.connected = connected

    with contextlib.closing(Terminal(said.append, Watched())) as opened:
        yield opened


CONNECTED = 'connected to manager 127.0.0.1:9000 via local address 127.0.0.1:4000\n'
WRONG = 'work_queue_worker: wrong password for manager 127.0.0.1:9000\n'


def test_words_without_an_end_of_line_are_passed_on(terminal: Terminal, said: list[str]) -> None:
    terminal.prints("couldn't resolve hostname node7")
    assert said == []
    terminal.words.settle()
    assert said == ['Work Queue cannot resolve the host name node7']


def test_the_same_trouble_is_mentioned_once(terminal: Terminal, said: list[str]) -> None:
    for second in range(3):
        terminal.prints(
            f'2026/01/01 10:00:0{second}.10 work_queue_worker[{second}] notice: unable to contact catalog server at a:9:-1\n'
        )
    assert said == ['Work Queue cannot reach the catalog server at a:9']


def test_a_connection_that_ends_in_a_refusal_is_none(terminal: Terminal, said: list[str]) -> None:
    terminal.prints(CONNECTED + WRONG)
    terminal.words.settle()
    assert said == ['the driver at 127.0.0.1:9000 does not take the password of this worker (see --password-file)']
    assert not terminal.words._watch.connected  # type: ignore[union-attr]


def test_connections_that_last_are_mentioned_each_time(terminal: Terminal, said: list[str]) -> None:
    for _ in range(2):
        terminal.prints(CONNECTED)
        terminal.words.settle()
        assert terminal.words._watch.connected  # type: ignore[union-attr]
        terminal.prints('disconnected from manager 127.0.0.1:9000\n')
    assert len(said) == 4
    assert said[:2] == said[2:]


def test_obstacles_are_mentioned_when_they_change(
    monkeypatch: pytest.MonkeyPatch, said: list[str], wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(reach, '_FIRST_LOOK', 0.0)
    monkeypatch.setattr(reach, '_PAUSE', 0.0)
    obstacles = ['no name', 'no name', 'no route', '', 'no route']

    class Changing:
        def obstacle(self) -> str:
            return obstacles.pop(0) if obstacles else ''

    with contextlib.closing(Watch(Changing(), said.append, '; wait')) as watch:  # type: ignore[arg-type]
        wait_until(lambda: not obstacles and watch.reached, 'the last look')
    assert said == ['no name; wait', 'no route; wait', 'no route; wait']


def test_a_connection_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]) -> None:
    monkeypatch.setattr(reach, '_FIRST_LOOK', 0.0)
    monkeypatch.setattr(reach, '_PAUSE', 0.0)
    looks: list[int] = []

    class Fine:
        def obstacle(self) -> str:
            looks.append(1)
            return ''

    with contextlib.closing(Watch(Fine(), pytest.fail)) as watch:  # type: ignore[arg-type]
        watch.note(connected=True)
        wait_until(lambda: watch.is_settled, 'the look')
        count = len(looks)
        watch._ended.wait(0.05)
        assert len(looks) <= count + 1
        watch.note(connected=False)
        wait_until(lambda: len(looks) > count + 1, 'the next look')


# --- real workers ------------------------------------------------------------------------------


def test_a_worker_of_an_unknown_host_says_so(crew: Any, tmp_path: Path) -> None:
    (tmp_path / 'password').write_text('known')
    hand = crew.start('--host', 'no-such-host.invalid:9123', '--password-file', str(tmp_path / 'password'))
    hand.wait_to_hear("the host name 'no-such-host.invalid' cannot be resolved")
    hand.wait_to_hear('trying again (--idle-timeout 900 s)')
    hand.wait_to_hear('Work Queue cannot resolve the host name no-such-host.invalid')


def test_a_worker_whose_driver_vanishes_says_so(crew: Any, wait_until: Callable[..., None], free_port: int) -> None:
    with WorkQueue(free_port, keep_workers=True) as backend:
        backend.open(Job('vanishes', Function(abs)))
        hand = crew.start('-M', 'vanishes')
        wait_until(lambda: not backend.poll(0.02) and backend.discover(), 'the coming of the worker')
    hand.wait_to_hear('has gone, or let this worker go')
    hand.wait_to_hear(f'nobody listens at 127.0.0.1:{free_port}')


def test_a_pool_whose_driver_cannot_be_reached_says_so(crew: Any, tmp_path: Path) -> None:
    (tmp_path / 'password').write_text('known')
    command = ['--host', 'no-such-host.invalid:9123', '--password-file', str(tmp_path / 'password')]
    pool = crew.start_pool('--batch', 'local', *command)
    pool.wait_to_hear("local: the host name 'no-such-host.invalid' cannot be resolved")


def test_a_driver_whose_catalog_cannot_be_reached_says_so(
    caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    with WorkQueue(catalog='no-such-host.invalid') as backend:
        backend.open(Job('catalog', Function(abs)))
        wait_until(
            lambda: "catalog: the host name 'no-such-host.invalid' cannot be resolved" in caplog.text, 'the warning'
        )
