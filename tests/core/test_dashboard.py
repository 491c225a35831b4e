"""``shadho dashboard``: a real server, asked as browsers and others ask it."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, spaces
from shadho.dashboard import Dashboard, serve
from shadho.errors import ConfigurationError, StorageError
from shadho.report.payload import payload


def search(path: Path, trials: int, name: str = 'live') -> None:
    Shadho(name, lambda params: params['x'], {'x': spaces.uniform(0, 1)}, max_tasks=trials, seed=0, backend='inline',
           storage=path, display=False).run()  # fmt: skip


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start the command on a search of three trials; return the address that it tells."""
    search(tmp_path / 'a.db', 3)
    started = []

    def start(*options: str, shown: tuple[str, ...] = ('a.db',)) -> str:
        command = [str(Path(sys.executable).parent / 'shadho'), 'dashboard', *shown, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stdout is not None
        return re.search(r'http://\S+', process.stdout.readline())[0]

    yield start
    for process in started:
        with process:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def get(address: str, **headers: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60)


def refused(address: str, **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        get(address, **headers)
    with refusal.value as answer:
        return answer.code


def read(address: str) -> str:
    with get(address) as answer:
        return str(answer.read().decode())


def trials(address: str) -> str:
    return str(dict(json.loads(read(address + 'data'))['facts'])['trials'])


def events(address: str) -> Iterator[str]:
    with get(address + 'events') as stream:
        for line in stream:
            if line.strip() and not line.startswith(b':'):
                yield line.decode().strip()


def test_the_page_and_its_data_are_served_and_trials_that_come_are_told_of(dashboard: Any, tmp_path: Path) -> None:
    address = dashboard()
    assert address.startswith('http://127.0.0.1:')
    assert "connect-src 'self'" in read(address)
    assert trials(address) == '3'
    told = events(address)
    assert next(told) == 'data: 1'
    search(tmp_path / 'a.db', 5)
    assert next(told).startswith('data: ')
    # The search may have been looked at before its end: there is an event for what came after.
    while trials(address) != '5':
        next(told)
    told.close()


def test_a_page_says_which_version_it_shows_so_that_nothing_is_fetched_twice(dashboard: Any) -> None:
    address = dashboard()
    told = events(address)
    assert next(told) == f'data: {data_of(read(address))["version"]}'
    told.close()


def test_a_page_is_of_the_file_as_it_is_when_the_page_is_opened(tmp_path: Path, monkeypatch: Any) -> None:
    now = 1000.0

    def slow(result: Any) -> Any:
        nonlocal now
        now += 10
        return payload(result)

    monkeypatch.setattr('time.monotonic', lambda: now)
    monkeypatch.setattr('shadho.dashboard.payload', slow)
    search(tmp_path / 'a.db', 3)
    board = Dashboard(str(tmp_path / 'a.db'))
    search(tmp_path / 'a.db', 7)
    now += 20
    assert board.look() == 1  # drawing takes so long that it is not drawn again yet, for whoever watches
    assert data_of(board.show())['trials']['columns'][0]['values'] == list(range(7))


def data_of(text: str) -> Any:
    """Return what a page shows."""
    packed = re.search(r'id="data">([^<]*)<', text)
    assert packed is not None
    return json.loads(zlib.decompress(base64.b64decode(packed[1])))


def test_of_a_folder_there_is_a_list_from_which_searches_are_opened_and_compared(
    dashboard: Any, tmp_path: Path
) -> None:
    search(tmp_path / 'b.db', 4, name='<b>other')
    (tmp_path / 'c.db').write_text('no search')
    (tmp_path / 'sub').mkdir()
    address = dashboard(shown=('.',))
    listed = read(address)
    assert [*re.findall(r'>([^<]+)</a>', listed)] == ['live', '&lt;b&gt;other']
    links = re.findall(r'href="([^"]+)"', listed)
    assert data_of(read(address + links[1]))['title'] == '<b>other'
    with get(address + 'data' + links[1]) as answer:
        assert json.load(answer)['title'] == '<b>other'
    both = 'compare?' + '&'.join(link.removeprefix('?') for link in links)
    assert [row[:2] for row in data_of(read(address + both))['table']['rows']] == [['live', '3'], ['<b>other', '4']]
    search(tmp_path / 'd.db', 1, name='later')
    assert 'later' in read(address)
    for place in (
        '?search=/etc/passwd',
        '?search=c.db',
        'data',
        'events?search=none',
        'compare',
        'compare?search=../a.db',
    ):
        assert refused(address + place) in (404, 409)


def test_several_files_are_listed_and_one_is_shown(dashboard: Any, tmp_path: Path) -> None:
    search(tmp_path / 'b.db', 4, name='other')
    assert re.findall(r'>([^<]+)</a>', read(dashboard(shown=('b.db', 'a.db')))) == ['other', 'live']


def test_nothing_but_reading_is_possible_and_by_no_other_name(dashboard: Any) -> None:
    address = dashboard()
    for method in ('POST', 'PUT', 'DELETE'):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(urllib.request.Request(address + 'data', method=method, data=b''), timeout=60)
        with refusal.value as answer:
            assert answer.code == 405
    assert refused(address, Host='evil.example') == 400
    assert refused(address + '../../etc/passwd') == 404
    with get(address) as answer:
        assert (answer.headers['X-Frame-Options'], answer.headers['Cache-Control']) == ('DENY', 'no-store')
        assert 'server' not in answer.headers


def test_with_a_token_only_those_who_know_it_see_anything(dashboard: Any) -> None:
    address = dashboard('--token')
    bare, token = address.split('?token=')
    assert len(token) >= 32
    for place in ('', 'data', 'events', '?token=wrong', 'data?token='):
        assert refused(bare + place) == 403
    assert refused(bare, Cookie='shadho-token=wrong') == 403
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar := CookieJar()))
    with opener.open(address, timeout=60) as answer:
        assert answer.url == bare  # the token is out of sight
    [cookie] = jar
    assert cookie.has_nonstandard_attr('HttpOnly')
    assert cookie.get_nonstandard_attr('SameSite') == 'lax'
    with opener.open(bare + 'data', timeout=60) as answer:
        assert json.load(answer)['title'] == 'live'


def test_pages_of_other_sites_cannot_read_it(dashboard: Any) -> None:
    address = dashboard('--token')
    bare, token = address.split('?token=')
    with get(bare, Origin='http://evil.example', Cookie=f'shadho-token={token}') as answer:
        assert not [name for name in answer.headers if name.lower().startswith('access-control-')]
        assert answer.headers['Cross-Origin-Resource-Policy'] == 'same-origin'


def test_the_browser_that_is_started_gets_no_token_as_an_argument(
    dashboard: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    opener = tmp_path / 'xdg-open'
    opener.write_text(
        f'#!/bin/sh\ncp "$1" {tmp_path}/page; echo "$@" > {tmp_path}/said; mv {tmp_path}/said {tmp_path}/opened\n'
    )
    opener.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    address = dashboard('--token', '--open')
    wait_until((tmp_path / 'opened').exists, 'the start of the browser')
    [page] = (tmp_path / 'opened').read_text().split()
    assert address.partition('=')[2] not in page
    assert Path(page).parent.stat().st_mode & 0o077 == 0
    assert address in (tmp_path / 'page').read_text()


def test_other_machines_need_a_token(tmp_path: Path) -> None:
    search(tmp_path / 'a.db', 1)
    with pytest.raises(ConfigurationError, match='a token is needed'):
        serve(str(tmp_path / 'a.db'), '0.0.0.0', token=False)


def test_an_address_that_cannot_be_listened_at_is_told_of(tmp_path: Path) -> None:
    search(tmp_path / 'a.db', 1)
    with pytest.raises(ConfigurationError, match=r'cannot listen on 192\.0\.2\.1:0: Cannot assign'):
        serve(str(tmp_path / 'a.db'), '192.0.2.1')
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        taken = rf'cannot listen on 127\.0\.0\.1:{port}: Address already in use; give another --port'
        with pytest.raises(ConfigurationError, match=taken):
            serve(str(tmp_path / 'a.db'), port=port)
    with pytest.raises(ConfigurationError, match=r'cannot listen on no such host:0: .*not known'):
        serve(str(tmp_path / 'a.db'), 'no such host')


def test_a_file_that_is_no_search_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'a.db').write_text('nothing')
    with pytest.raises(StorageError):
        Dashboard(str(tmp_path / 'a.db'))
    with pytest.raises(StorageError, match='there is no file'):
        Dashboard(str(tmp_path / 'none.db'))


def test_the_file_is_read_at_most_once_a_second_however_many_look(tmp_path: Path, monkeypatch: Any) -> None:
    search(tmp_path / 'a.db', 1)
    now = 1000.0
    monkeypatch.setattr('time.monotonic', lambda: now)
    board = Dashboard(str(tmp_path / 'a.db'))
    search(tmp_path / 'a.db', 2)
    assert [board.look() for _ in range(3)] == [1, 1, 1]
    now += 1.0
    assert [board.look() for _ in range(3)] == [2, 2, 2]
